package docker_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"

	"lap/sandbox"
	"lap/sandbox/pipe"
)

// A realHost is what a sandbox's pipe leads to: an outside where every host is a web
// server that says who was asked how, and a model that runs commands.
type realHost struct {
	*pipe.Host
	mu      sync.Mutex // guards command and output
	command string     // that the model runs next
	output  string     // of the last one
}

// outside opens a pipe of a sandbox that leads to a realHost.
func (r *realEngine) outside(t *testing.T, id string) *realHost {
	t.Helper()
	conn, err := r.Dial(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	h := &realHost{}
	if h.Host, err = pipe.NewHost(conn); err != nil {
		t.Fatal(err)
	}
	egress, gateway := pipe.NewListener(), pipe.NewListener()
	model := &http.Server{Handler: http.HandlerFunc(h.model)}
	var work sync.WaitGroup
	work.Go(func() { h.Serve("s", map[pipe.Service]*pipe.Listener{pipe.Egress: egress, pipe.Gateway: gateway}) })
	work.Go(func() { _ = model.Serve(gateway) })
	work.Go(func() {
		for {
			conn, err := egress.Accept()
			if err != nil {
				return
			}
			work.Go(func() { answerEgress(conn) })
		}
	})
	t.Cleanup(func() {
		_ = h.Close()
		_ = egress.Close()
		_ = model.Close()
		work.Wait()
	})
	return h
}

// answerEgress is the outside.
func answerEgress(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line, err := in.ReadBytes('\n')
	var asked sandbox.EgressRequest
	if err != nil || json.Unmarshal(line, &asked) != nil {
		return
	}
	if strings.HasPrefix(asked.Host, "blocked.") {
		_, _ = io.WriteString(conn, `{"error":"Not allowed here.","refused":true}`+"\n")
		return
	}
	_, _ = io.WriteString(conn, "{}\n")
	if _, err := http.ReadRequest(in); err == nil {
		text := fmt.Sprintf("%s:%d by %s\n", asked.Host, asked.Port, asked.Via)
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	}
}

// model answers a model call: with the command, and once that has run with "done".
func (h *realHost) model(w http.ResponseWriter, r *http.Request) {
	var chat struct {
		Messages []struct {
			Role    string
			Content any
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&chat); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delta, finish := `{"role":"assistant","content":"done"}`, "stop"
	if last := chat.Messages[len(chat.Messages)-1]; last.Role == "tool" {
		h.output = fmt.Sprint(last.Content)
	} else {
		args, _ := json.Marshal(map[string]string{"command": h.command})
		text, _ := json.Marshal(string(args))
		delta = fmt.Sprintf(`{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"bash","arguments":%s}}]}`, text)
		finish = "tool_calls"
	}
	w.Header().Set("Content-Type", "text/event-stream")
	for _, choice := range []string{`{"index":0,"delta":` + delta + `}`, `{"index":0,"delta":{},"finish_reason":"` + finish + `"}`} {
		_, _ = fmt.Fprintf(w, "data: {\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[%s]}\n\n", choice)
	}
	_, _ = io.WriteString(w, "data: [DONE]\n\n")
}

// call makes a request to the guest and returns the body of its answer.
func (h *realHost) call(t *testing.T, method, path string, body any) string {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return h.Dial(ctx) },
	}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://sandbox"+path, strings.NewReader(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(req)
	if err != nil {
		t.Fatalf("%v; the pipe: %v", err, h.Err())
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %s, %v: %s", method, path, res.Status, err, answer)
	}
	return string(answer)
}

// boot makes the sandbox a session's own and returns a function that runs commands as
// its agent.
func (h *realHost) boot(t *testing.T) (run func(command string) string) {
	t.Helper()
	if events := h.call(t, http.MethodPost, "/boot", sandbox.Boot{Session: "s", Agent: "a", Harness: sandbox.HarnessLap}); !strings.Contains(events, `"done":true`) {
		t.Fatal(events)
	}
	return func(command string) string {
		t.Helper()
		h.mu.Lock()
		h.command, h.output = command, ""
		h.mu.Unlock()
		var session struct{ ID string }
		if err := json.Unmarshal([]byte(h.call(t, http.MethodPost, "/harness/session", map[string]any{})), &session); err != nil {
			t.Fatal(err)
		}
		h.call(t, http.MethodPost, "/harness/session/"+session.ID+"/message", map[string]any{
			"model": map[string]string{"providerID": "lap", "modelID": "m"},
			"parts": []map[string]string{{"type": "text", "text": "go on"}},
		})
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.output
	}
}

// noProxy is curl as a program that knows no proxy.
const noProxy = "env -u http_proxy -u HTTP_PROXY -u ALL_PROXY -u all_proxy curl -sS -m 10 "

func TestRealWaysOut(t *testing.T) {
	r := newReal(t)
	id := r.create(t, 1<<30)
	answers(t, r.start(t, id))
	h := r.outside(t, id)
	if got := h.call(t, http.MethodGet, "/health", nil); strings.Contains(got, "capture") {
		t.Fatalf("health = %s", got)
	}
	run := h.boot(t)
	for _, tt := range []struct{ name, command, want string }{
		{"proxy", "curl -sS http://example.com/", "example.com:80 by proxy"},
		{"connect", "curl -sSp http://example.com:81/", "example.com:81 by proxy"},
		{"socks", noProxy + "-x socks5h://127.0.0.1:3128 http://example.com/", "example.com:80 by socks"},
		{"socks, name looked up first", noProxy + "-x socks5://127.0.0.1:3128 http://example.com/", "example.com:80 by socks"},
		{"capture by name", noProxy + "http://Example.com:8080/", "example.com:8080 by capture"},
		{"capture by address", noProxy + "http://93.184.216.34/", "93.184.216.34:80 by capture"},
		{"port of the capture elsewhere", noProxy + "http://93.184.216.34:3129/", "93.184.216.34:3129 by capture"},
		{"another server's DNS", `perl -MSocket -e 'socket(S,AF_INET,SOCK_DGRAM,0);connect(S,pack_sockaddr_in(53,inet_aton("8.8.8.8")));` +
			`send(S,pack("nnnnnn",7,256,1,0,0,0)."\1x\7example\0".pack("nn",1,1),0);alarm 5;recv(S,$b,512,0);print length($b)," ",inet_ntoa(substr($b,-4))'`, "198.18."},
		{"DNS by TCP", `perl -MSocket -e 'socket(S,AF_INET,SOCK_STREAM,0);connect(S,pack_sockaddr_in(53,inet_aton("127.0.0.11"))) or die $!;` +
			`$q=pack("nnnnnn",7,256,1,0,0,0)."\1y\7example\0".pack("nn",1,1);syswrite(S,pack("n",length $q).$q);alarm 5;sysread(S,$b,512);print inet_ntoa(substr($b,-4))'`, "198.18."},
		{"name of an address", `perl -MSocket -e 'print gethostbyaddr(inet_aton("example.net"),AF_INET)'`, "example.net"},
		{"own name", "getent ahostsv4 lap", "127.0.0.1"},
		{"refused by the proxy", "curl -sSi http://blocked.test/", "X-Vault-Blocked: egress-policy"},
		{"refused by the proxy, with a sentence", "curl -sS http://blocked.test/", "Not allowed here."},
		{"refused to connect", "curl -sSip http://blocked.test/", "403 Forbidden"},
		{"refused capture", noProxy + "http://blocked.test/", "reset by peer"},
		{"the capture itself", noProxy + "http://127.0.0.1:3129/", "curl: ("},
		{"forgotten address", noProxy + "http://198.19.7.7/", "curl: ("},
		{"nothing there", noProxy + "http://127.0.0.1:9/", "curl: (7)"},
		{"UDP", `perl -MSocket -e 'socket(S,AF_INET,SOCK_DGRAM,0);connect(S,pack_sockaddr_in(123,inet_aton("8.8.8.8")));send(S,"x",0);alarm 5;defined recv(S,$b,9,0) or print $!'`, "refused"},
		{"ping", `perl -MSocket -e 'socket(S,AF_INET,SOCK_DGRAM,1) or die $!;connect(S,pack_sockaddr_in(0,inet_aton("8.8.8.8")));defined send(S,pack("CCnnn",8,0,0,1,1),0) or print $!'`, "not permitted"},
		{"ping of itself", `perl -MSocket -e 'socket(S,AF_INET,SOCK_DGRAM,1) or die $!;connect(S,pack_sockaddr_in(0,inet_aton("127.0.0.1")));send(S,pack("CCnnn",8,0,0,1,1),0);alarm 5;print length recv(S,$b,99,0) ? "answered":"answered"'`, "answered"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := run(tt.command); !strings.Contains(got, tt.want) {
				t.Errorf("%s\ngot %q, want %q in it", tt.command, got, tt.want)
			}
		})
	}
}

// keptCapabilities are CHOWN, DAC_OVERRIDE, FOWNER, SETGID and SETUID.
const keptCapabilities = 1<<0 | 1<<1 | 1<<3 | 1<<6 | 1<<7

func TestRealCapabilitiesAreGivenUp(t *testing.T) {
	r := newReal(t)
	id := r.create(t, 1<<30)
	answers(t, r.start(t, id))
	run := r.outside(t, id).boot(t)
	status := run("grep -H Cap /proc/[0-9]*/task/*/status; grep -l pipe /proc/[0-9]*/cmdline")
	sets := regexp.MustCompile(`(?m)^/proc/(\d+)/\S+:(Cap\w+):\s*([0-9a-f]+)$`).FindAllStringSubmatch(status, -1)
	seen := map[string]bool{}
	for _, set := range sets {
		var bits uint64
		if _, err := fmt.Sscanf(set[3], "%x", &bits); err != nil || bits&^keptCapabilities != 0 {
			t.Errorf("%s", set[0])
		}
		seen[set[1]] = true
	}
	if len(seen) < 3 || !seen["1"] || !strings.Contains(status, "cmdline") {
		t.Errorf("saw processes %v in\n%s", seen, status)
	}
	for name, attack := range map[string]string{
		"user namespace":                 "unshare -Ur nsenter -t 1 -n echo got it",
		"network namespace of the guest": "nsenter -t 1 -n echo got it",
		"memory of the guest":            "head -c 1 /proc/1/mem && echo got it",
		"file capabilities": `cp /bin/grep /tmp/grep; perl -e '($f,$n,$v)=("/tmp/grep","security.capability",pack("V5",0x02000001,1<<12,0,0,0));` +
			`syscall(188,$f,$n,$v,20,0)==0 and print "set "'; /tmp/grep -qE 'Cap(Eff|Prm):.*[1-9a-f][0-9a-f]{3}$' /proc/self/status && echo got it`,
		"another pipe": `perl -e '$SIG{ALRM}=sub{};open P,"|-","/.lap/lap","pipe" or die;select undef,undef,undef,0.3;` +
			`open S,"/proc/".(split" ",qx(pgrep -n -f "lap pipe"))[0]."/status";while(<S>){print "got it" if /^Cap\w+:.*[1-9a-f][0-9a-f]{3}$/}'`,
	} {
		t.Run(name, func(t *testing.T) {
			if got := run(attack); strings.Contains(got, "got it") {
				t.Errorf("%s\n%s", attack, got)
			}
		})
	}
}
