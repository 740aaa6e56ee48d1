# The image of a release: the program that goreleaser has built, and nothing else.
FROM alpine:3.22 AS files
RUN apk add --no-cache ca-certificates && mkdir -p /writable/tmp/dapr-components-sockets

FROM scratch
ARG TARGETPLATFORM
COPY --from=files /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# The default sockets folder. A volume that is mounted there for the first time takes over its owner.
COPY --from=files --chown=65532:65532 /writable/ /
COPY $TARGETPLATFORM/mortise /mortise
USER 65532:65532
ENTRYPOINT ["/mortise"]
