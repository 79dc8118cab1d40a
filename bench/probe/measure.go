package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// request makes one request and reads all of the answer.
func request(ctx context.Context, c *http.Client, method, url string, body io.Reader) (int64, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, make([]byte, bufferSize))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, res.Status)
	}
	return n, err
}

// warmup is how many requests do not count.
const warmup = 10

// latency makes requests one after the other.
func latency(ctx context.Context, c *http.Client, o options) (measure, error) {
	var all []time.Duration
	for i := range o.n + warmup {
		began := time.Now()
		if _, err := request(ctx, c, http.MethodGet, o.url, nil); err != nil {
			return measure{}, err
		}
		if i >= warmup {
			all = append(all, time.Since(began))
		}
	}
	return spread(all), nil
}

// load makes requests on many connections at once.
func load(ctx context.Context, c *http.Client, o options) (measure, error) {
	each := make([][]time.Duration, o.conns)
	errs := make([]error, o.conns)
	var ready, work sync.WaitGroup
	ready.Add(o.conns)
	var began time.Time
	begin := make(chan struct{})
	for i := range o.conns {
		work.Go(func() {
			_, errs[i] = request(ctx, c, http.MethodGet, o.url, nil) // connects
			ready.Done()
			<-begin
			for errs[i] == nil && time.Since(began) < o.span {
				sent := time.Now()
				_, errs[i] = request(ctx, c, http.MethodGet, o.url, nil)
				each[i] = append(each[i], time.Since(sent))
			}
		})
	}
	ready.Wait()
	began = time.Now()
	close(begin)
	work.Wait()
	took := time.Since(began)
	all := slices.Concat(each...)
	if err := errors.Join(errs...); err != nil {
		return measure{}, err
	}
	m := spread(all)
	m.Rate = float64(len(all)) / took.Seconds()
	return m, nil
}

func spread(all []time.Duration) measure {
	slices.Sort(all)
	return measure{P50: int64(all[len(all)/2]), P99: int64(all[len(all)*99/100])}
}

// down loads bytes from the server.
func down(ctx context.Context, c *http.Client, o options) (measure, error) {
	began := time.Now()
	n, err := request(ctx, c, http.MethodGet, o.url+"?bytes="+strconv.FormatInt(o.bytes, 10), nil)
	if err == nil && n != o.bytes {
		err = fmt.Errorf("got %d bytes of %d", n, o.bytes)
	}
	return measure{Rate: float64(n) / time.Since(began).Seconds()}, err
}

// up sends bytes to the server.
func up(ctx context.Context, c *http.Client, o options) (measure, error) {
	began := time.Now()
	_, err := request(ctx, c, http.MethodPost, o.url, &zeros{left: o.bytes})
	return measure{Rate: float64(o.bytes) / time.Since(began).Seconds()}, err
}

// zeros are so many bytes.
type zeros struct{ left int64 }

func (z *zeros) Read(b []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), z.left))
	clear(b[:n])
	z.left -= int64(n)
	return n, nil
}
