# Two images, both built from the root of the repository, with BuildKit, which is Docker's default:
#
#   docker build --tag mortise:dev .                        the component: one static program and nothing else
#   docker build --tag daprd-mortise:dev --target daprd .   Dapr's sidecar, which can load it
#
# --build-arg VERSION=v1.2.3 sets what "mortise --version" prints. deploy/image_test.go runs the steps without Docker.

FROM --platform=$BUILDPLATFORM golang:1.26 AS source
WORKDIR /src
COPY . .

FROM source AS build
ARG VERSION=dev TARGETOS TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o bin/mortise .
# The default sockets folder. A volume that is mounted there for the first time takes over its owner.
RUN mkdir -p writable/tmp/dapr-components-sockets

FROM source AS build-daprd
WORKDIR /src/daprd
# allcomponents is the full sidecar, stablecomponents the small one.
ARG COMPONENTS=allcomponents TARGETOS TARGETARCH
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    DAPR=$(go list -m -f '{{slice .Version 1}}' github.com/dapr/dapr) && \
    CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -tags $COMPONENTS \
    -ldflags "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version=$DAPR -X github.com/dapr/kit/logger.DaprVersion=$DAPR" \
    -o ../bin/daprd .

# The path and the missing ENTRYPOINT are those of Dapr's own image: its injector passes "/daprd" and the flags as arguments.
FROM scratch AS daprd
COPY --from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build-daprd /src/bin/daprd /daprd
USER 65532:65532
CMD ["/daprd"]

FROM scratch AS mortise
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /src/writable/ /
COPY --from=build /src/bin/mortise /mortise
USER 65532:65532
ENTRYPOINT ["/mortise"]
