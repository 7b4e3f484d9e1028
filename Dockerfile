# One image for every service; the arguments of the process say which one it is:
#   docker build -t ragents-mesh:0.1.0 .
#   docker run --rm -p 8080:8080 -e RAGENTS_HOST=0.0.0.0 -e RAGENTS_ALLOW_ANONYMOUS=true ragents-mesh:0.1.0   # all of them, embedded stores
#   docker run --rm ragents-mesh:0.1.0 dist/services/cache/main.js                                           # one of them
# A private registry of packages: --secret id=npmrc,src=$HOME/.npmrc
ARG BASE=docker.io/library/node:24.11.1-bookworm-slim

FROM ${BASE} AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc \
    npm ci \
 && npm sbom --package-lock-only --omit=dev --sbom-format=spdx > sbom.spdx.json
COPY tsconfig.json tsconfig.build.json ./
COPY gen gen
COPY runtime runtime
COPY clients clients
COPY services services
COPY gateway gateway
COPY cli cli
COPY launcher launcher
RUN npm run build -- --declaration false --sourceMap false
COPY scripts/traced-modules.mjs scripts/
# Packages beside those that the programs import. For the embedding model MiniLM (46 MB): onnxruntime-node onnxruntime-common
ARG PACKAGES=""
RUN node scripts/traced-modules.mjs dist image/node_modules ${PACKAGES}

FROM ${BASE}
ENV NODE_ENV=production RAGENTS_DATA_DIR=/data
WORKDIR /app
COPY --from=build /app/package.json /app/sbom.spdx.json ./
COPY --from=build /app/image/node_modules node_modules
COPY models models
COPY prompts prompts
COPY cli/ragents.mjs cli/
# The code belongs to root, and the process cannot change it; skaffold's file synchronisation needs it otherwise.
ARG DIST_OWNER=0
COPY --from=build --chown=${DIST_OWNER} /app/dist dist
# The only folder that is written to, and only by the launcher's embedded stores.
RUN mkdir -p /data && chown 10001:10001 /data
VOLUME /data
USER 10001:10001
EXPOSE 8080 9090
# Node is process 1: it handles SIGTERM itself, and needs no shell.
ENTRYPOINT ["node"]
CMD ["dist/launcher/main.js"]
ARG BASE
# Last, so that another revision of the same files is the same layers.
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="RAGents Mesh" \
      org.opencontainers.image.description="A mesh of gRPC services that serves RAG agents, behind a REST gateway." \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.base.name="${BASE}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
