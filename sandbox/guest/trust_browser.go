//go:build linux

package guest

import (
	"encoding/json"
	"errors"
)

// addPolicies writes the policy that makes Chromium and Chrome trust the certificates. They
// look at no bundle, only at NSS databases of each user and at this; since version 131.
// The small headless_shell takes no policies at all.
func (t *trusting) addPolicies() error {
	var policy struct {
		CACertificates [][]byte // DER in base64
	}
	for _, cert := range t.certs {
		policy.CACertificates = append(policy.CACertificates, cert.Raw)
	}
	text, err := json.Marshal(policy)
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range []string{"/etc/chromium", "/etc/opt/chrome", "/etc/opt/chrome_for_testing"} {
		errs = append(errs, t.keep(dir+"/policies/managed/lap.json", append(text, '\n')))
	}
	return errors.Join(errs...)
}
