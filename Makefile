# Commands for developers; CONTRIBUTING.md describes them. Modules are built, tested and
# linted separately.
MODULES := . daprd examples test/e2e test/bench test/bench/peers
BIN     := $(CURDIR)/.bin

# A test program under the race detector would sleep for a second at its end.
export GORACE := atexit_sleep_ms=0
# Results that golangci-lint keeps for another clone have paths in that clone.
export GOLANGCI_LINT_CACHE := $(BIN)/golangci-lint-cache

.PHONY: run sidecar test test-all e2e races siege bench fuzz lint release-check proto

run: ## start Mortise with the memory store
	go run . --resources-path deploy/components/memory.yaml

sidecar: ## start a Dapr sidecar of the app "demo" beside it, on ports 3500 and 50001
	cd daprd && go build -tags stablecomponents -o $(BIN)/daprd .
	mkdir -p $(BIN)/resources && cp deploy/components/memory.yaml $(BIN)/resources
	$(BIN)/daprd --app-id demo --resources-path $(BIN)/resources --dapr-listen-addresses 127.0.0.1 --enable-metrics=false

test: ## run the tests of every package, with real redis-server processes
	test/install.sh cc:build-essential redis-server
	go test -race -p 4 -timeout 30m ./...
	cd examples && go test -race ./...

test-all: export MORTISE_TEST_ALL = 1
test-all: test e2e races ## run all tests: all variants and seeds, sidecars, faults
	cd daprd && go test -race ./...
	cd test/bench && go test ./... && cd peers && go test -race ./...

e2e: ## run the tests with real Dapr sidecars, and with killed processes
	test/install.sh cc:build-essential redis-server node:nodejs npm curl
	cd test/e2e && go test -race -count=1 -timeout 20m ./...

races: ## run the races on Redis ten times as long as test-all does
	test/install.sh cc:build-essential redis-server
	MORTISE_TEST_ALL=1 MORTISE_RACE_FACTOR=10 go test -race -count=1 -timeout 30m -run TestRace_ ./stores/redis

siege: ## measure calls while thousands of hostile clients use the TCP ports
	cd test/e2e && MORTISE_SIEGE=1 go test -v -count=1 -timeout 30m -run TestSiege .

bench: ## print the tables of ratios, costs and waits
	test/install.sh redis-server etcd:etcd-server
	cd test/bench && go run .

fuzz: ## run each fuzz test for a while
	test/fuzz.sh 20s

lint: ## check code, language and changes of the protocols; silent if all is well
	cd test/tools && go build -o $(BIN)/ github.com/golangci/golangci-lint/v2/cmd/golangci-lint github.com/bufbuild/buf/cmd/buf
	@for m in $(MODULES); do (cd $$m && $(BIN)/golangci-lint run --show-stats=false ./...) || exit 1; done
	go run ./test/language
	cd proto && $(BIN)/buf breaking . --path mortise --against baseline.binpb

release-check: ## check the release's configuration, and build for this machine
	go run github.com/goreleaser/goreleaser/v2@v2.14.0 check
	go run github.com/goreleaser/goreleaser/v2@v2.14.0 build --snapshot --clean --single-target

proto: ## generate the Go code beside the .proto files
	test/install.sh protoc:protobuf-compiler
	proto/generate.sh
