# The two commands of the README are "make demo" and "make test".
export CGO_ENABLED ?= 0
GO       ?= go
TAGS     := invariant
BIN      := bin/chronik-server
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS  := -s -w -X main.version=$(VERSION)
TOOL     := $(GO) tool -modfile=tools/go.mod
PACKAGES := ./...

.PHONY: build test race lint generate build-all

build: ## the binary, in bin/
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/chronik-server

test: ## every test of the project
	$(GO) test -tags $(TAGS) $(PACKAGES)

race: ## the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -tags $(TAGS) $(PACKAGES)

lint: ## formatting, vet for every system, staticcheck
	@out=$$($(TOOL) gofumpt -l cmd internal test tools/protogen); if [ -n "$$out" ]; then echo "gofumpt: $$out"; exit 1; fi
	for os in linux darwin windows; do GOOS=$$os $(GO) vet $(PACKAGES) || exit 1; done
	$(TOOL) staticcheck -tags $(TAGS) $(PACKAGES)

generate: ## what is generated from proto/ and from tables
	cd tools && $(GO) build -o ../bin/protogen ./protogen
	bin/protogen

build-all: ## the binary for every system it runs on
	for t in linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64; do \
	  GOOS=$${t%/*} GOARCH=$${t#*/} $(GO) build -trimpath -ldflags '$(LDFLAGS)' \
	    -o bin/chronik-server-$${t%/*}-$${t#*/}$$([ $${t%/*} = windows ] && echo .exe) ./cmd/chronik-server || exit 1; done
