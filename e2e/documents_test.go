package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// fenced is a block of code in a document, and the comment before it that names its file.
var fenced = regexp.MustCompile("(?m)(?:^<!-- (.*) -->\n)?^```[a-z]+\n((?s:.*?))^```$")

// TestFixtureDocument shows that the code in the document is that of the examples.
func TestFixtureDocument(t *testing.T) {
	document, err := os.ReadFile(filepath.Join("..", "docs", "fixture.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := fenced.FindAllStringSubmatch(string(document), -1)
	if len(blocks) == 0 {
		t.Fatal("it has no code")
	}
	for _, block := range blocks {
		file, code := block[1], block[2]
		if file == "" {
			t.Errorf("no comment names the file of\n%s", code)
			continue
		}
		text, err := os.ReadFile(filepath.Join("..", file))
		if err != nil {
			t.Error(err)
		} else if !strings.Contains(string(text), code) {
			t.Errorf("%s has not, as the document says,\n%s", file, code)
		}
	}
}
