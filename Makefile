# What one does here. Each module is built, tested and linted by itself.
MODULES := . daprd examples test/e2e test/bench test/bench/peers
BIN     := $(CURDIR)/.bin

.PHONY: run sidecar test e2e races siege bench fuzz lint proto

run: ## start Mortise with the memory store
	go run . --resources-path deploy/components/memory.yaml

sidecar: ## start a Dapr sidecar of the app "demo" beside it, on ports 3500 and 50001
	cd daprd && go build -tags stablecomponents -o $(BIN)/daprd .
	mkdir -p $(BIN)/resources && cp deploy/components/memory.yaml $(BIN)/resources
	$(BIN)/daprd --app-id demo --resources-path $(BIN)/resources --dapr-listen-addresses 127.0.0.1 --enable-metrics=false

test: ## run all tests but those of e2e, with real servers
	test/install.sh cc:build-essential redis-server
	go test -race -timeout 20m ./...
	cd daprd && go test -race ./...
	cd examples && go test -race ./...
	cd test/bench && go test ./... && cd peers && go test -race ./...

e2e: ## run the tests through a real Dapr sidecar, and those where real processes break
	test/install.sh cc:build-essential redis-server node:nodejs npm curl
	cd test/e2e && go test -race -count=1 -timeout 20m ./...

races: ## run the races between a grant and the end of a wait on Redis ten times as long as test does
	test/install.sh cc:build-essential redis-server
	MORTISE_RACE_FACTOR=10 go test -race -count=1 -timeout 30m -run 'ExcludeEachOther' ./stores/redis

siege: ## see what thousands of hostile clients at the TCP ports do to those who use the socket; takes five minutes
	cd test/e2e && MORTISE_SIEGE=1 go test -v -count=1 -timeout 30m -run TestMortiseBearsASiege .

bench: ## print the tables of ratios, costs and waits
	test/install.sh redis-server etcd:etcd-server
	cd test/bench && go run .

fuzz: ## run each fuzz test for a while
	test/fuzz.sh 20s

lint: ## gofmt, go vet and staticcheck, all silent if all is well
	go build -o $(BIN)/ honnef.co/go/tools/cmd/staticcheck
	@for m in $(MODULES); do (cd $$m && echo "lint $$m" && test -z "$$(gofmt -l . | tee -a /dev/stderr)" && go vet ./... && $(BIN)/staticcheck ./...) || exit 1; done

proto: ## generate the Go code beside the .proto files
	test/install.sh protoc:protobuf-compiler
	proto/generate.sh
