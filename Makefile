# The two commands of the README are "make demo" and "make test".
export CGO_ENABLED ?= 0
GO       ?= go
# invariant: costly checks. synctests: kgo's mutexes are channels, so that its groups run in fake time.
TAGS     := invariant,synctests
BIN      := bin/chronik-server
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
TOOL     := $(GO) tool -modfile=tools/go.mod
SYSTEMS  := linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

.PHONY: help build demo test race clients suites java mutants fuzz bench growth microbench accept attack power lint generate build-all clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

build: ## the binary, in bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/chronik-server

demo: build ## a three-node cluster with real clients, its Raft leader killed, PASS or FAIL
	$(BIN) demo

test: ## every test of the product
	$(GO) test -tags $(TAGS) ./...

race: ## the tests under the race detector, short (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -tags $(TAGS) ./...

clients: ## seven Kafka clients, and Kafka's own tools, against a cluster of the binary
	cd test/clients && CGO_ENABLED=1 $(GO) test -count=1 -timeout 20m ./...

suites: java ## the tests of franz-go, kafka-go and sarama (network namespaces: root; a JDK and Maven)
	cd test/suites && $(GO) test -count=1 -timeout 40m -v ./...

java: ## fetches what test/clients/java/pom.xml names (needs a JDK and Maven)
	cd test/clients && TEST_CLIENTS_REQUIRED=1 CGO_ENABLED=0 $(GO) test -count=1 -run TestClassPaths .

mutants: ## deliberate bugs, each of which the tests must notice
	CHRONIK_MUTANTS=1 $(GO) test -count=1 -timeout 30m -tags '$(TAGS),mutant' -run 'TestMutant' -v ./internal/...

FUZZTIME ?= 10s
fuzz: ## every fuzz target for FUZZTIME
	@grep -rlE '^func Fuzz' --include='*_test.go' internal | xargs -n1 dirname | sort -u | while read -r dir; do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | awk '{print $$2}'); do \
	    echo "$$dir $$f"; $(GO) test ./$$dir -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x || exit 1; done; done

bench: build ## this broker, the floor broker and kfake under the same load; the table of docs/BENCHMARKS.md
	cd test/bench && $(GO) run ./speed -bin ../../$(BIN) -write ../../docs/BENCHMARKS.md

growth: build ## 5,000 partitions, large fetch sessions, ten million commits: what they cost; the table of docs/BENCHMARKS.md
	cd test/bench && $(GO) run ./growth -bin ../../$(BIN) -write ../../docs/BENCHMARKS.md

microbench: ## the benchmarks beside the code
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...

accept: build ## the figures of docs/BENCHMARKS.md, measured here, as ratios to the floor broker
	cd test/bench && $(GO) run ./accept -bin ../../$(BIN)

attack: build ## hostile clients of every kind beside a well-behaved one: memory and latency within their bars, or a failure
	cd test/bench && $(GO) run ./attack -bin ../../$(BIN)

power: build ## power loss on a loop-mounted file system, and kill -9 of everything (root)
	$(GO) test -count=1 -timeout 30m -tags power -run TestPower -v ./test/chaos

lint: ## formatting, vet for every system, staticcheck
	@out=$$($(TOOL) gofumpt -l cmd internal test tools/protogen); if [ -n "$$out" ]; then echo "gofumpt: $$out"; exit 1; fi
	for os in linux darwin windows; do GOOS=$$os $(GO) vet -tags $(TAGS) ./... || exit 1; done
	cd test/clients && $(GO) vet ./... && CGO_ENABLED=1 $(GO) vet ./...
	cd test/suites && $(GO) vet ./...
	cd test/bench && $(GO) vet ./...
	$(TOOL) staticcheck -tags $(TAGS) ./...

generate: ## what is made from proto/ and from the tables
	cd tools && $(GO) build -o ../bin/protogen ./protogen
	bin/protogen
	$(GO) generate ./...

build-all: ## the binary for every system it runs on
	for t in $(SYSTEMS); do \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -trimpath -ldflags '$(LDFLAGS)' \
	    -o bin/chronik-server-$${t%/*}-$${t#*/}$$([ $${t%/*} = windows ] && echo .exe) ./cmd/chronik-server || exit 1; done

clean: ## what the other targets left in bin/
	rm -rf bin
