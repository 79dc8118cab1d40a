package gateway

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

const (
	maxErrorBody = 1 << 20 // bytes of an error that are read to clean it
	hidden       = "***"
)

// secrets replaces the key, and a password in the gateway's URL, in the forms in which
// a server might repeat them.
func secrets(key string, user *url.Userinfo) *strings.Replacer {
	password, _ := user.Password()
	basic := ""
	if user != nil {
		basic = base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
	}
	var pairs []string
	for _, secret := range []string{key, password, basic} {
		if secret == "" {
			continue
		}
		quoted, _ := json.Marshal(secret) // a string always encodes
		for _, form := range []string{secret, string(quoted[1 : len(quoted)-1]), url.QueryEscape(secret), url.PathEscape(secret)} {
			pairs = append(pairs, form, hidden)
		}
	}
	return strings.NewReplacer(pairs...)
}

var userinfo = regexp.MustCompile(`://[^/\s"]*@`)

// redact takes the secrets out of a text, and the user of any URL in it.
func (u *upstream) redact(text string) string {
	return userinfo.ReplaceAllString(u.secrets.Replace(text), "://")
}

// clean makes an answer fit for a sandbox.
func (u *upstream) clean(res *http.Response) error {
	switch {
	case res.StatusCode < http.StatusOK: // a switch of protocols, which would be a tunnel
		return badGateway("model_gateway_confused", "the model gateway answered %d, which was not asked for", res.StatusCode)
	case res.StatusCode >= 300 && res.StatusCode < 400 && res.StatusCode != http.StatusNotModified:
		return redirected(res)
	}
	dropHeaders(res.Header)
	for _, values := range res.Header {
		for i := range values {
			values[i] = u.secrets.Replace(values[i])
		}
	}
	if res.StatusCode >= http.StatusBadRequest {
		return u.scrub(res)
	}
	if u.echoes == nil {
		return nil
	}
	if err := u.echoes.Response(res); err != nil {
		return badGateway("model_gateway_confused", "the answer of the model gateway cannot be passed on: %v", err)
	}
	return nil
}

// redirected refuses a redirect: whoever follows it would show the key to another host.
func redirected(res *http.Response) error {
	to := "elsewhere"
	if at, err := res.Location(); err == nil {
		to = "to " + at.Scheme + "://" + at.Host
	}
	return badGateway("model_gateway_redirects",
		"the model gateway redirects %s (status %d), which is not followed: set LITELLM_API_BASE to the address that answers", to, res.StatusCode)
}

// scrub takes the secrets out of an error's body.
func (u *upstream) scrub(res *http.Response) error {
	text, err := readError(res)
	if err != nil {
		return err
	}
	setBody(res, u.secrets.Replace(text))
	return nil
}

// setBody puts a text in place of a body that has been read.
func setBody(res *http.Response, text string) {
	_ = res.Body.Close()
	res.Body, res.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	res.Header.Del("Content-Encoding")
	res.Header.Set("Content-Length", strconv.Itoa(len(text)))
}

// readError reads the body of an error. It fails if that is too long to be one, or not
// readable.
func readError(res *http.Response) (string, error) {
	src := io.Reader(res.Body)
	switch encoding := res.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		unzip, err := gzip.NewReader(src)
		if err != nil {
			return "", unreadable(res.StatusCode, err)
		}
		src = unzip
	default:
		return "", unreadable(res.StatusCode, fmt.Errorf("its encoding is %q", encoding))
	}
	var text bytes.Buffer
	n, err := io.Copy(&text, io.LimitReader(src, maxErrorBody+1))
	if err == nil && n > maxErrorBody {
		err = fmt.Errorf("it is longer than %d KiB", maxErrorBody>>10)
	}
	if err != nil {
		return "", unreadable(res.StatusCode, err)
	}
	return text.String(), nil
}

func unreadable(status int, err error) error {
	return &apiError{
		Status: status, Type: "server_error", Code: "unreadable_error",
		Message: fmt.Sprintf("the model gateway answered %d with a text that cannot be shown: %v", status, err),
	}
}
