GO      ?= go
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null)
LDFLAGS  = -s -w $(if $(VERSION),-X lap/cmd.version=$(VERSION))
LINT     = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

CHURN   ?= 10m
SANDBOX ?= docker native
ARCH     = $(shell $(GO) env GOARCH)

# The race detector needs a C compiler.
CC_FOUND = $(shell for c in $$($(GO) env CC) cc gcc clang; do command -v $$c >/dev/null && { echo $$c; break; }; done)

# One static binary that runs in any Linux image.
export CGO_ENABLED = 0

.PHONY: build image demo test lint fmt generate bench chaos churn cover clean help

build: ## build ./lap
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o lap .

image: ## build the container image lap:<version>; needs Docker
	GOOS=linux $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o lap-linux-$(ARCH) .
	docker build -q --build-arg TARGETARCH=$(ARCH) -t lap:$(or $(VERSION),dev) .

demo: build ## run the main job once, on a server that lives for a few seconds
	./lap demo

test: lint ## vet, lint, and every test, with the race detector where there is a C compiler
	@cc='$(CC_FOUND)'; set -- -shuffle=on -timeout 15m ./...; \
	if [ -n "$$cc" ]; then CC=$$cc CGO_ENABLED=1 $(GO) test -race "$$@"; \
	else echo 'no C compiler here: tests run without the race detector'; $(GO) test "$$@"; fi

lint: ## vet and lint
	$(GO) vet ./...
	$(GO) vet -tags chaos ./...
	$(LINT) run
	$(LINT) run --build-tags chaos ./server/...

fmt: ## format
	$(LINT) fmt

generate: ## write the documents that are made from code, and the golden files
	LAP_UPDATE=1 $(GO) test ./server/... -run 'Golden|Documented'

bench: build ## speed as ratios against a floor taken in the same run
	$(GO) run ./bench

chaos: ## kill lap, and let calls fail, at every point of its main operations, with sandboxes of $(SANDBOX)
	for s in $(SANDBOX); do $(GO) run ./chaos -sandbox $$s || exit; done

churn: ## let sessions come and go for $(CHURN), then look at what is left
	LAP_CHURN=$(CHURN) $(GO) test ./e2e -run TestChurn -v -count 1 -timeout 0

cover: ## test coverage, per function
	$(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out

clean: ## remove what the other targets made
	rm -rf lap lap-linux-* dist cover.out

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
