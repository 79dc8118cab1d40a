package db

import (
	"bytes"
	"database/sql/driver"
	"fmt"
	"sync"

	"modernc.org/sqlite"
)

// registerFunctions adds lap's own SQL functions to the driver, once a process.
//
//	contains_fold(text, needle): 1 when needle occurs in text, letter case of any
//	script aside. LIKE folds ASCII only and gives % and _ a meaning of their own.
//	Both are blobs, since the driver cuts text at its first NUL.
var registerFunctions = sync.OnceValue(func() error {
	return sqlite.RegisterDeterministicScalarFunction("contains_fold", 2,
		func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			text, ok := args[0].([]byte)
			if !ok {
				return int64(0), nil // NULL contains nothing
			}
			needle, ok := args[1].([]byte)
			if !ok {
				return nil, fmt.Errorf("contains_fold: needle is %T, not a blob", args[1])
			}
			if bytes.Contains(bytes.ToLower(text), bytes.ToLower(needle)) {
				return int64(1), nil
			}
			return int64(0), nil
		})
})
