package db

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"sync"

	"modernc.org/sqlite"
)

// registerFunctions adds lap's own SQL functions to the driver, once a process.
//
//	contains_fold(text, needle): 1 when needle occurs in text, letter case of any
//	script aside. LIKE folds ASCII only and gives % and _ a meaning of their own.
var registerFunctions = sync.OnceValue(func() error {
	return sqlite.RegisterDeterministicScalarFunction("contains_fold", 2,
		func(_ *sqlite.FunctionContext, args []driver.Value) (driver.Value, error) {
			text, ok := args[0].(string)
			if !ok {
				return int64(0), nil // NULL contains nothing
			}
			needle, ok := args[1].(string)
			if !ok {
				return nil, fmt.Errorf("contains_fold: needle is %T, not text", args[1])
			}
			if strings.Contains(strings.ToLower(text), strings.ToLower(needle)) {
				return int64(1), nil
			}
			return int64(0), nil
		})
})
