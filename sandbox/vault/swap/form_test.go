package swap

import (
	"io"
	"net/url"
	"strings"
	"testing"
)

const formStub, formValue = "stub_secret_0badcafe", "a&b=c d+é/%"

func swapForm(t *testing.T, in string, cuts []byte) (string, Report) {
	t.Helper()
	k := New([]Credential{{"SECRET", formStub, formValue}}, nil, nil, BodiesOAuth)
	s := &swapping{keys: k}
	got, err := io.ReadAll(s.oauth(&pieces{data: []byte(in), cuts: cuts}))
	if err != nil {
		t.Fatal(err)
	}
	return string(got), s.report()
}

func TestForm(t *testing.T) {
	in := url.QueryEscape(formValue)
	tests := []struct {
		name, in, want string
		declined       bool
	}{
		{"secret field", "client_secret=" + formStub, "client_secret=" + in, false},
		{"several", "a=1&token=" + formStub + "&password=x" + formStub + formStub, "a=1&token=" + in + "&password=x" + in + in, false},
		{"client id", "client_id=" + formStub, "client_id=" + in, false},
		{"other field", "comment=" + formStub + "&token=1", "comment=" + formStub + "&token=1", true},
		{"in a name", formStub + "=1&token" + formStub + "=2", formStub + "=1&token" + formStub + "=2", true},
		{"field without value", "client_secret&x=" + formStub, "client_secret&x=" + formStub, true},
		{"escaped name", "%63lient%5Fsecret=" + formStub, "%63lient%5Fsecret=" + in, false},
		{"name that begins like one", "client_secrets=" + formStub, "client_secrets=" + formStub, true},
		{"long name", strings.Repeat("x", 1000) + "token=" + formStub, strings.Repeat("x", 1000) + "token=" + formStub, true},
		{"second sign", "token=a=" + formStub, "token=a=" + in, false},
		{"empty pairs", "&&=&token=" + formStub + "&", "&&=&token=" + in + "&", false},
		{"broken escape", "tok%zzen=" + formStub, "tok%zzen=" + formStub, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, cuts := range [][]byte{nil, {1}, {5, 3}} {
				got, rep := swapForm(t, tt.in, cuts)
				if got != tt.want || (len(rep.Declined) > 0) != tt.declined {
					t.Errorf("cuts %v: got %q, %v, want %q, declined %v", cuts, got, rep, tt.want, tt.declined)
				}
			}
		})
	}
}

// wantForm replaces in a form that is read as a whole.
func wantForm(in string) string {
	fields := strings.Split(in, "&")
	for i, field := range fields {
		name, value, ok := strings.Cut(field, "=")
		if plain, err := url.QueryUnescape(name); ok && err == nil && secretFields[plain] {
			fields[i] = name + "=" + strings.ReplaceAll(value, formStub, url.QueryEscape(formValue))
		}
	}
	return strings.Join(fields, "&")
}

func FuzzForm(f *testing.F) {
	f.Add("a=1&client_secret=", "&token=", "&b", []byte{1})
	f.Add("%74oken=x", "=&=", "", []byte{3, 2})
	f.Fuzz(func(t *testing.T, a, b, c string, cuts []byte) {
		for i := range cuts {
			cuts[i] = max(cuts[i], 1)
		}
		in := a + formStub + b + formStub + c
		got, _ := swapForm(t, in, cuts)
		if want := wantForm(in); got != want {
			t.Fatalf("got %q, want %q", got, want)
		}
		was, err := url.ParseQuery(in)
		if err != nil {
			return
		}
		now, err := url.ParseQuery(got)
		if err != nil || len(now) != len(was) {
			t.Fatalf("%q became %q: %v", in, got, err)
		}
		for name, values := range was {
			for i, v := range values {
				if !secretFields[name] && now[name][i] != v {
					t.Fatalf("field %q: got %q, want %q", name, now[name][i], v)
				}
				if secretFields[name] && !strings.Contains(in, "%") && now[name][i] != strings.ReplaceAll(v, formStub, formValue) {
					t.Fatalf("field %q: got %q", name, now[name][i])
				}
			}
		}
	})
}
