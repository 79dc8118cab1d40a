package api_test

import (
	"net/http"
	"testing"

	"lap/server/api"
)

func TestHost(t *testing.T) {
	tests := []struct {
		name, listen, host string
		status             int
	}{
		{"loopback address", "127.0.0.1:3000", "127.0.0.1:3000", 200},
		{"another loopback address", "127.0.0.1:3000", "127.9.9.9", 200},
		{"another port", "127.0.0.1:3000", "127.0.0.1:1", 200},
		{"localhost", "127.0.0.1:3000", "localhost:3000", 200},
		{"letter case and last dot", "127.0.0.1:3000", "LOCALHOST.:3000", 200},
		{"below localhost", "127.0.0.1:3000", "lap.localhost", 200},
		{"IPv6 loopback", "127.0.0.1:3000", "[::1]:3000", 200},
		{"IPv6 loopback without port", "127.0.0.1:3000", "[::1]", 200},
		{"allowed", "127.0.0.1:3000", "lap.lan:8080", 200},
		{"allowed with port", "127.0.0.1:3000", "other.lan", 200},
		{"public URL", "127.0.0.1:3000", "lap.test", 200},
		{"rebound name", "127.0.0.1:3000", "evil.example.com", 403},
		{"rebound name, same port", "127.0.0.1:3000", "evil.example.com:3000", 403},
		{"looks like localhost", "127.0.0.1:3000", "localhost.evil.com", 403},
		{"ends like localhost", "127.0.0.1:3000", "evillocalhost", 403},
		{"below an allowed name", "127.0.0.1:3000", "x.lap.lan", 403},
		{"foreign address", "127.0.0.1:3000", "10.0.0.5:3000", 403},
		{"any address", "127.0.0.1:3000", "0.0.0.0:3000", 403},
		{"its own address", "192.168.1.7:3000", "192.168.1.7:3000", 200},
		{"another address", "192.168.1.7:3000", "192.168.1.8:3000", 403},
		{"its own name", "lap-host:3000", "LAP-host:3000", 200},
		{"everywhere, by address", "0.0.0.0:3000", "10.0.0.5:3000", 200},
		{"everywhere, by IPv6 address", "[::]:3000", "[fe80::1]:3000", 200},
		{"everywhere, by name", "0.0.0.0:3000", "evil.example.com", 403},
		{"everywhere, allowed name", ":3000", "lap.lan", 200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, func(cfg *api.Config) {
				cfg.Listen, cfg.AllowedHosts = tt.listen, []string{"lap.lan", " other.lan:9 ", ""}
			})
			r := w.send(t, "GET", "/healthz", nil, map[string]string{"Host": tt.host})
			if r.want(t, tt.status); tt.status == http.StatusForbidden {
				r.wantError(t, tt.status, tt.host, "LAP_ALLOWED_HOSTS")
			}
		})
	}
}

func TestPublicURLOfEverywhereIsNoName(t *testing.T) {
	w := newWorld(t, func(cfg *api.Config) { cfg.Listen, cfg.BaseURL = "127.0.0.1:3000", "http://0.0.0.0:3000" })
	w.send(t, "GET", "/healthz", nil, map[string]string{"Host": "0.0.0.0:3000"}).want(t, http.StatusForbidden)
}

func TestOrigin(t *testing.T) {
	const host = "127.0.0.1:3000"
	tests := []struct {
		name, method string
		header       map[string]string
		status       int
	}{
		{"none", "GET", nil, 200},
		{"same", "GET", map[string]string{"Origin": "http://127.0.0.1:3000"}, 200},
		{"same, other host name", "GET", map[string]string{"Origin": "http://localhost:3000", "Host": "localhost:3000"}, 200},
		{"same behind TLS", "GET", map[string]string{"Origin": "https://lap.lan", "Host": "lap.lan"}, 200},
		{"same with the scheme's port", "GET", map[string]string{"Origin": "https://lap.lan", "Host": "lap.lan:443"}, 200},
		{"public URL", "GET", map[string]string{"Origin": "https://lap.test"}, 403},
		{"public URL, its scheme", "GET", map[string]string{"Origin": "http://lap.test"}, 200},
		{"allowed", "GET", map[string]string{"Origin": "https://lap.lan:8443"}, 200},
		{"another port of this machine", "GET", map[string]string{"Origin": "http://127.0.0.1:5173"}, 403},
		{"another name of this machine", "GET", map[string]string{"Origin": "http://localhost:3000"}, 403},
		{"foreign", "GET", map[string]string{"Origin": "https://evil.example.com"}, 403},
		{"null", "GET", map[string]string{"Origin": "null"}, 403},
		{"empty", "GET", map[string]string{"Origin": ""}, 200}, // the client does not send it
		{"another scheme", "GET", map[string]string{"Origin": "file://127.0.0.1:3000"}, 403},
		{"no URL", "GET", map[string]string{"Origin": "http://%"}, 403},
		{"cross-site write", "POST", map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"cross-site read, as by a link", "GET", map[string]string{"Sec-Fetch-Site": "cross-site"}, 200},
		{"same-site write", "POST", map[string]string{"Sec-Fetch-Site": "same-origin"}, 405},
	}
	w := newWorld(t, func(cfg *api.Config) { cfg.Listen, cfg.AllowedHosts = host, []string{"lap.lan"} })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := map[string]string{"Host": host}
			for name, value := range tt.header {
				if value != "" {
					header[name] = value
				}
			}
			w.send(t, tt.method, "/healthz", nil, header).want(t, tt.status)
		})
	}
}

func TestGuardComesBeforeAuthentication(t *testing.T) {
	w := newWorld(t)
	w.send(t, "GET", agents, nil, map[string]string{"Host": "evil.example.com"}).want(t, http.StatusForbidden)
	w.send(t, "GET", agents, nil, map[string]string{"Origin": "https://evil.example.com"}).want(t, http.StatusForbidden)
}

func TestHostIsMissing(t *testing.T) {
	w := newWorld(t)
	if status := w.raw(t, "GET /healthz HTTP/1.0\r\n\r\n"); status != http.StatusForbidden {
		t.Errorf("status = %d, want 403", status)
	}
}
