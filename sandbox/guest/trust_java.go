//go:build linux

package guest

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"

	"software.sslmate.com/src/go-pkcs12"
)

const (
	truststore = "/var/lib/lap/truststore.jks"
	// storePassword is that of every JVM's truststore. It keeps nothing secret.
	storePassword = "changeit"
)

// addToJava writes a truststore for JVMs, when the image has one, and returns the options
// that they are to take from the environment. Each JVM then says so on stderr ("Picked up
// JAVA_TOOL_OPTIONS"). The truststore has the roots of the JVMs' own, and those of bundle.
func (t *trusting) addToJava(bundle, home string) (options string, err error) {
	stores := t.javaStores(home)
	if len(stores) == 0 {
		return "", nil
	}
	c := collection{seen: map[string]bool{}}
	for i, cert := range t.certs {
		c.add(numbered("lap", i), cert.Raw)
	}
	for _, cert := range t.before {
		c.seen[string(cert.Raw)] = true // leave it out
	}
	var errs []error
	for _, store := range stores {
		errs = append(errs, c.addStore(store))
	}
	if bundle != "" {
		errs = append(errs, c.addBundle(t.at(bundle)))
	}
	if len(c.entries) == len(t.certs) { // it would take every other host away
		return "", errors.Join(append(errs, errors.New("no roots found for a truststore"))...)
	}
	text, err := writeJKS(c.entries, storePassword)
	if err == nil {
		err = t.keep(truststore, text)
	}
	if err != nil {
		return "", errors.Join(append(errs, err)...)
	}
	return fmt.Sprintf("-Djavax.net.ssl.trustStore=%s -Djavax.net.ssl.trustStorePassword=%s -Djavax.net.ssl.trustStoreType=JKS",
		truststore, storePassword), errors.Join(errs...)
}

// javaStores returns the truststores of the JVMs, each once, as paths on the host.
func (t *trusting) javaStores(home string) []string {
	dirs := []string{
		"/etc/ssl/certs/java", "/etc/pki/java", "/usr/lib/jvm/*/lib/security", "/usr/lib/jvm/*/jre/lib/security",
		"/opt/java/*/lib/security", "/usr/local/openjdk-*/lib/security", "/usr/java/*/lib/security",
	}
	if home != "" {
		dirs = append(dirs, home+"/lib/security", home+"/jre/lib/security")
	}
	var all []string
	seen := map[string]bool{}
	for _, dir := range dirs {
		found, err := filepath.Glob(t.at(dir) + "/cacerts")
		if err != nil { // home is no path
			continue
		}
		for _, path := range found {
			path, err := filepath.EvalSymlinks(path)
			if err == nil && !seen[path] { // a link to nothing is no store
				seen[path] = true
				all = append(all, path)
			}
		}
	}
	return all
}

// collection is what is to go into a truststore.
type collection struct {
	entries []trustedCert
	seen    map[string]bool // by DER
}

// add adds a certificate.
func (c *collection) add(name string, der []byte) {
	if !c.seen[string(der)] {
		c.seen[string(der)] = true
		c.entries = append(c.entries, trustedCert{name, der})
	}
}

// addRoot adds one that is a JVM's already, so that a JVM can read it.
func (c *collection) addRoot(der []byte) { c.add("root"+strconv.Itoa(len(c.entries)), der) }

func (c *collection) addBundle(path string) error {
	text, err := readFile(path)
	if err != nil {
		return err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" || c.seen[string(block.Bytes)] {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err == nil { // else a JVM may take none of the store
			c.addRoot(block.Bytes)
		}
	}
	return nil
}

// addStore adds what a JVM's own truststore holds, in whichever format.
func (c *collection) addStore(path string) error {
	text, err := readFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if isJKS(text) {
		ders, err := readJKS(text)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, der := range ders {
			c.addRoot(der)
		}
		return nil
	}
	certs, err := pkcs12.DecodeTrustStore(text, storePassword)
	if err != nil {
		certs, err = pkcs12.DecodeTrustStore(text, "") // as Java 18 and later make it
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, cert := range certs {
		c.addRoot(cert.Raw)
	}
	return nil
}
