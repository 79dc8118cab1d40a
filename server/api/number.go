package api

import (
	"math"
	"strconv"
	"strings"
)

const (
	maxExact    = 1<<53 - 1 // the greatest integer up to which a float64 holds every one
	exactDigits = 16        // of maxExact
	maxExponent = 1 << 30   // more than any body has digits
)

// integral returns the value of a JSON number without a fraction, however it is written:
// 10, 10.0, 1e1. What not every JSON reader keeps exact is ±MaxInt64. ok is
// false for other numbers, and for what is no number.
func integral(text string) (n int64, ok bool) {
	bare, negative := strings.CutPrefix(text, "-")
	if bare == "" || bare[0] < '0' || bare[0] > '9' {
		return 0, false
	}
	mantissa, exponent := bare, 0
	if i := strings.IndexAny(bare, "eE"); i >= 0 {
		mantissa = bare[:i]
		exponent, _ = strconv.Atoi(bare[i+1:]) // out of range it is the nearest int
		exponent = min(max(exponent, -maxExponent), maxExponent)
	}
	whole, fraction, _ := strings.Cut(mantissa, ".")
	all := whole + fraction
	digits := strings.TrimRight(all, "0")
	exponent += len(all) - len(digits) - len(fraction)
	digits = strings.TrimLeft(digits, "0")
	switch {
	case digits == "":
		return 0, true
	case exponent < 0:
		return 0, false
	case len(digits)+exponent <= exactDigits:
		n, _ = strconv.ParseInt(digits+strings.Repeat("0", exponent), 10, 64) // fits
	default:
		n = math.MaxInt64
	}
	if n > maxExact {
		n = math.MaxInt64
	}
	if negative {
		n = -n
	}
	return n, true
}
