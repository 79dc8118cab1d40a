package fault_test

import (
	"testing"

	"lap/server/fault"
)

func TestEnd(t *testing.T) {
	var a fault.Armed
	strikes := func() bool {
		t.Helper()
		if err := a.Arm([]fault.Fault{{Step: "disk"}}); err != nil {
			t.Fatal(err)
		}
		_, ok, err := a.Strike(t.Context(), "disk")
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !strikes() {
		t.Error("it does not strike")
	}
	if a.End(); strikes() {
		t.Error("it strikes after the end")
	}
}
