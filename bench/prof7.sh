redis-server --port 7391 --save "" --loglevel warning >/dev/null & R=$!
sleep 0.3
RAGENTS_LOG_LEVEL=warn RAGENTS_CACHE_PORT=7392 RAGENTS_METRICS_PORT=7393 RAGENTS_CACHE_URL=${1:-redis://127.0.0.1:7391} node --import tsx services/cache/main.ts & S=$!
sleep 2
node --import tsx bench/prof6.ts
A=$(awk '{print $14+$15}' /proc/$S/stat)
node --import tsx bench/prof4.ts 127.0.0.1:7392
B=$(awk '{print $14+$15}' /proc/$S/stat); echo "server cpu ms $(( (B-A)*10 ))"
kill $S; wait $S; kill $R
