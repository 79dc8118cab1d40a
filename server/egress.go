package server

import (
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"lap/sandbox/vault"
	"lap/sandbox/vault/ca"
	"lap/server/session"
)

// trust is what sandboxes trust beside their images' own certificates, and what lap does.
type trust struct {
	authority *ca.Authority
	text      string         // for sandboxes, PEM
	roots     *x509.CertPool // for lap; nil: the system's
}

// openTrust opens the certificate authority, and reads the certificates that the operator
// adds.
func openTrust(s Settings) (trust, error) {
	authority, err := openAuthority(s)
	if err != nil {
		return trust{}, err
	}
	t := trust{authority: authority, text: authority.Certificate()}
	if file := os.Getenv("SSL_CERT_FILE"); file != "" { // which lap's own connections heed anyhow
		added, err := addedAuthorities(file)
		if err != nil {
			return trust{}, err
		}
		t.text += string(added)
	}
	if s.ExtraCA == "" {
		return t, nil
	}
	extra, err := os.ReadFile(s.ExtraCA)
	if err != nil {
		return trust{}, fmt.Errorf("LAP_EXTRA_CA: %w", err)
	}
	if t.roots, err = x509.SystemCertPool(); err != nil {
		return trust{}, err
	}
	if !t.roots.AppendCertsFromPEM(extra) {
		return trust{}, fmt.Errorf("LAP_EXTRA_CA: there is no certificate in %s: it must be PEM", s.ExtraCA)
	}
	t.text += string(extra)
	return t, nil
}

// openAuthority opens the operator's authority, or else the one in the data directory. An
// ephemeral server's is in no file.
func openAuthority(s Settings) (*ca.Authority, error) {
	switch {
	case (s.CACert == "") != (s.CAKey == ""):
		return nil, errors.New("LAP_CA_CERT and LAP_CA_KEY go together: set both or neither")
	case s.CACert != "":
		return ca.Open(s.CACert, s.CAKey)
	case s.Ephemeral:
		return ca.New()
	}
	return ca.Open(filepath.Join(s.DataDir, caCertFile), filepath.Join(s.DataDir, caKeyFile))
}

// egress is what sandboxes may reach from this machine.
func (s *Server) egress() session.EgressConfig {
	network := vault.NewNetwork()
	network.Pins = s.settings.Resolve
	network.Proxy = vault.EnvironmentProxy()
	network.Own, network.Local, network.Roots = s.isOwn, isLocal, s.trust.roots
	return session.EgressConfig{
		Network: network, Allow: s.settings.EgressAllow, Deny: s.settings.EgressDeny, DefaultDeny: s.settings.DefaultDeny,
		Anywhere: s.settings.Unbound == "anywhere", Bodies: s.settings.SwapBodies,
	}
}

// isOwn reports whether an address leads to this server.
func (s *Server) isOwn(addr netip.AddrPort) bool {
	listen, ok := s.listener.Addr().(*net.TCPAddr)
	if !ok || addr.Port() != listen.AddrPort().Port() {
		return false
	}
	ip := addr.Addr().Unmap()
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	mine, err := ownAddresses(net.Flags(0))
	return err != nil || mine[ip] // rather than to be wrong
}

// isLocal reports whether an address is one of this machine's on a network. What its loopback
// interface has beside the usual stands for other machines, in tests, say.
func isLocal(addr netip.Addr) bool {
	mine, err := ownAddresses(net.FlagLoopback)
	return err != nil || mine[addr.Unmap()]
}

// ownAddresses are the addresses of this machine's interfaces that do not have a flag of
// without.
func ownAddresses(without net.Flags) (map[netip.Addr]bool, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	mine := map[netip.Addr]bool{}
	for _, i := range interfaces {
		if i.Flags&without != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if prefix, err := netip.ParsePrefix(a.String()); err == nil {
				mine[prefix.Addr().Unmap()] = true
			}
		}
	}
	return mine, nil
}

// stubKey makes what stands for credentials in sandboxes: the same after a restart, and
// known to nobody.
func stubKey(sealKey []byte) ([]byte, error) {
	return hkdf.Key(sha256.New, sealKey, nil, "lap stubs v1", 32)
}
