GO      ?= go
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null)
LDFLAGS  = -s -w $(if $(VERSION),-X lap/cmd.version=$(VERSION))
LINT     = $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

CHURN   ?= 10m

# One static binary that runs in any Linux image.
export CGO_ENABLED = 0

.PHONY: build demo test lint fmt generate bench chaos churn cover clean help

build: ## build ./lap
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o lap .

demo: build ## run the main job once, on a server that lives for a few seconds
	./lap demo

test: lint ## vet, lint, and every test with the race detector; end-to-end tests need Docker
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 15m ./...

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

chaos: ## kill lap, and let calls fail, at every point of its main operations; needs Docker
	$(GO) run ./chaos

churn: ## let sessions come and go for $(CHURN), then look at what is left; needs Docker
	LAP_CHURN=$(CHURN) $(GO) test ./e2e -run TestChurn -v -count 1 -timeout 0

cover: ## test coverage, per function
	CGO_ENABLED=1 $(GO) test -coverpkg=./... -coverprofile=cover.out ./...
	$(GO) tool cover -func=cover.out

clean: ## remove what the other targets made
	rm -rf lap lap-linux-* dist cover.out

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12
