package audit

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
)

// The canaries, by the places where a user puts secrets.
const (
	masterKey   = "MASTER_KEY"
	sealKey     = "ENCRYPTION_KEY"
	signingKey  = "HARNESS_TOKEN_SIGNING_KEY"
	modelKey    = "LITELLM_API_KEY"
	operatorEnv = "CONTAINER_ENV"
	operatorGit = "CONTAINER_ENV_GIT_TOKEN"
	bound       = "env_vars-bound"
	unbound     = "env_vars-by-allow_out"
	suggested   = "env_vars-suggested"
	other       = "env_vars-other-agent"
	ofSession   = "session-env_vars"
	ofRestart   = "restart-env_vars"
	mistaken    = "mistakes" // secrets in requests that are refused
	caKey       = "ca.key"
)

// A world is all that a server under audit has around it.
type world struct {
	dir, data, log string
	canaries       *canaries
	env            []string // of the server

	bound, secure, stranger, model, repository *host // repository: nil without git
}

// newWorld makes keys, hosts and folders below a new temporary directory.
func newWorld(ctx context.Context) (w *world, err error) {
	dir, err := os.MkdirTemp("", "lap-audit-*")
	if err != nil {
		return nil, err
	}
	w = &world{dir: dir, data: filepath.Join(dir, "data"), log: filepath.Join(dir, "serve.log"), canaries: newCanaries()}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
			w = nil
		}
	}()
	for _, name := range []string{control, operatorEnv, operatorGit, bound, unbound, suggested, other, ofSession, ofRestart, mistaken} {
		w.canaries.mint(name)
	}
	for _, name := range []string{"tmp", "keys", "git"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return w, err
		}
	}
	if err := w.keys(); err != nil {
		return w, err
	}
	return w, w.hosts(ctx)
}

// keys gives the server its keys in files, and what can only be given by variables.
func (w *world) keys() error {
	env, err := writeKeys(filepath.Join(w.dir, "keys"), map[string]string{
		masterKey: w.canaries.mint(masterKey), signingKey: w.canaries.mint(signingKey), modelKey: w.canaries.mint(modelKey),
		sealKey: base64.StdEncoding.EncodeToString(w.canaries.mintKey(sealKey, 32)),
	})
	w.env = append(
		env, "TMPDIR="+filepath.Join(w.dir, "tmp"), "WARM_POOL_SIZE=0",
		"CONTAINER_ENV_"+operatorVar+"="+w.canaries.text[operatorEnv], operatorGit+"="+w.canaries.text[operatorGit],
	)
	return err
}

// wrongKey is the environment of the server with another encryption key.
func (w *world) wrongKey() ([]string, error) {
	text := base64.StdEncoding.EncodeToString([]byte(random(16)))
	env, err := writeKeys(filepath.Join(w.dir, "tmp"), map[string]string{sealKey: text})
	return append(slices.Clone(w.env), env...), err // the last one counts
}

// hosts starts the servers that sandboxes and lap talk to.
func (w *world) hosts(ctx context.Context) error {
	cert, text, err := selfSigned(secureHost)
	if err != nil {
		return err
	}
	ca := filepath.Join(w.dir, "keys", "extra-ca.pem")
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		return err
	}
	var errs [4]error
	w.bound, errs[0] = listen(ctx, http.HandlerFunc(echo), nil)
	w.secure, errs[1] = listen(ctx, http.HandlerFunc(echo), cert)
	w.stranger, errs[2] = listen(ctx, http.HandlerFunc(echo), nil)
	w.model, errs[3] = listen(ctx, gateway(w.canaries.text[modelKey]), nil)
	if err := errors.Join(errs[:]...); err != nil {
		return err
	}
	w.env = append(
		w.env, "LAP_EXTRA_CA="+ca, "LITELLM_API_BASE=http://"+w.model.addr, "LAP_EGRESS_ALLOW="+strangerHost,
		"LAP_RESOLVE="+boundHost+"="+w.bound.addr+","+secureHost+"="+w.secure.addr+","+strangerHost+"="+w.stranger.addr,
	)
	handler, err := repository(ctx, filepath.Join(w.dir, "git"), w.canaries.text[operatorGit])
	if err == nil && handler != nil {
		w.repository, err = listen(ctx, handler, nil)
	}
	return err
}

// close stops the hosts and removes the directory.
func (w *world) close() error {
	return errors.Join(
		w.bound.close(), w.secure.close(), w.stranger.close(), w.model.close(), w.repository.close(), os.RemoveAll(w.dir),
	)
}
