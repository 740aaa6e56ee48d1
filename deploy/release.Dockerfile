# The image of a release. It contains only the program, which goreleaser has built.
FROM alpine:3.22 AS files
RUN apk add --no-cache ca-certificates && mkdir -p /writable/tmp/dapr-components-sockets

FROM scratch
ARG TARGETPLATFORM
COPY --from=files /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
# The default sockets folder. A new volume that is mounted there gets its owner.
COPY --from=files --chown=65532:65532 /writable/ /
COPY $TARGETPLATFORM/mortise /mortise
USER 65532:65532
ENTRYPOINT ["/mortise"]
