rm -rf /tmp/prof-server /tmp/prof-client
redis-server --port 7391 --save "" --loglevel warning >/dev/null & R=$!
sleep 0.3
RAGENTS_LOG_LEVEL=warn RAGENTS_CACHE_PORT=7392 RAGENTS_METRICS_PORT=7393 RAGENTS_CACHE_URL=${1:-redis://127.0.0.1:7391} node --cpu-prof --cpu-prof-dir=/tmp/prof-server --import tsx services/cache/main.ts & S=$!
sleep 3
node --cpu-prof --cpu-prof-dir=/tmp/prof-client --import tsx bench/prof3.ts 127.0.0.1:7392
kill $S; wait $S; kill $R
