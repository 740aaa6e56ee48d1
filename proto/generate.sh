#!/bin/sh
# Generates the Go code beside each .proto file with the plugins that go.mod pins; needs
# protoc (Debian: protobuf-compiler).
set -eu
cd "$(dirname "$0")"
go build -o ../.bin/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
dapr=$(go list -m -f '{{.Dir}}' github.com/dapr/dapr)
find . -name '*.proto' | sed 's|^\./||' | PATH="$PWD/../.bin:$PATH" xargs protoc -I . -I "$dapr" \
	--go_out=. --go_opt=paths=source_relative \
	--go-grpc_out=. --go-grpc_opt=paths=source_relative
