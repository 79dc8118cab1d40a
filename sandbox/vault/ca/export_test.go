package ca

import "time"

// OpenAt is Open with a clock.
func OpenAt(certFile, keyFile string, now func() time.Time) (*Authority, error) {
	return open(certFile, keyFile, now)
}
