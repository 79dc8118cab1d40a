package api_test

import (
	"math"
	"testing"

	"lap/server/api"
)

func TestIntegral(t *testing.T) {
	const exact = 1<<53 - 1
	for text, want := range map[string]int64{
		"0": 0, "-0": 0, "0.0": 0, "0e9999999999999999999999": 0, "-0.000e-5": 0, "7": 7, "-7": -7, "10": 10, "100e-2": 1, "1.0": 1, "1.50e1": 15,
		"12.5E+1": 125, "0.00000000000000000000005e23": 5, "9007199254740991": exact, "-9007199254740991.000": -exact, "90071992547409910e-1": exact,
		"9007199254740992": math.MaxInt64, "9999999999999999": math.MaxInt64, "-1e16": -math.MaxInt64, "1e400": math.MaxInt64,
		"1e99999999999999999999": math.MaxInt64, "123456789012345678901234567890": math.MaxInt64, "1234567890123456789012345678905e-1": math.MinInt64,
		"0.5": math.MinInt64, "1e-1": math.MinInt64, "1e-400": math.MinInt64, "-1e-99999999999999999999": math.MinInt64,
		"1.00000000000000000000001": math.MinInt64, `"1"`: math.MinInt64, "null": math.MinInt64, "[1]": math.MinInt64, "true": math.MinInt64,
	} {
		if got, ok := api.Integral(text); ok != (want != math.MinInt64) || ok && got != want {
			t.Errorf("%s = %d, %t, want %d (the least: no integer)", text, got, ok, want)
		}
	}
}
