package gateway

const (
	maxUsage = 16 << 10 // bytes of a usage object
	maxDepth = 63       // of objects and arrays whose kind is remembered
)

// name is the beginning of a JSON string, long enough to know it by.
type name struct {
	bytes [64]byte
	n     int
}

func (n *name) reset() { n.n = 0 }

func (n *name) add(b byte) {
	if n.n < len(n.bytes) {
		n.bytes[n.n] = b
		n.n++
	}
}

func (n *name) text() []byte { return n.bytes[:n.n] }

// await is what a jsonScan expects next.
type await int

const (
	awaitValue await = iota
	awaitKey
	awaitOther // a comma or an end
)

// jsonScan reads a JSON text that comes in pieces, however large, in memory of fixed
// size. It trusts the text to be JSON and tells what it finds of the members that an
// answer tells its usage by. The zero value is ready.
type jsonScan struct {
	usage func(raw []byte, nested bool)          // an object of usage; nested: in response or message
	str   func(key, begin []byte, size, odd int) // a string value, how much of it is not base64, and the last key before it

	depth   int
	objects uint64 // bit d: what is open at depth d is an object
	array   bool   // the text is an array; its elements are as if they came alone
	ended   bool   // the text is whole
	failed  bool   // it has a member called error

	next    await
	inText  bool
	isKey   bool
	escaped bool

	key, top, value, kind name // kind is the value of the member type
	size, odd             int  // of the string so far, and how many of its bytes are not base64
	kept                  []byte
	keepTo                int // the depth at which kept is whole; 0: nothing is kept
}

func (s *jsonScan) reset() {
	*s = jsonScan{usage: s.usage, str: s.str, kept: s.kept[:0]}
}

func (s *jsonScan) write(p []byte) {
	for _, b := range p {
		if s.ended {
			return
		}
		s.step(b)
	}
}

func (s *jsonScan) step(b byte) {
	if s.keepTo > 0 && len(s.kept) <= maxUsage {
		s.kept = append(s.kept, b)
	}
	if s.inText {
		s.inString(b)
		return
	}
	switch b {
	case ' ', '\t', '\r', '\n':
	case '"':
		s.open()
	case '{', '[':
		s.begin(b)
		s.push(b)
	case '}', ']':
		s.pop()
	case ':':
		s.next = awaitValue
	case ',':
		s.next = awaitValue
		if s.inObject() {
			s.next = awaitKey
		}
	default:
		if s.next == awaitValue {
			s.begin(b)
			s.next = awaitOther
		}
	}
}

func (s *jsonScan) open() {
	s.inText, s.escaped, s.size, s.odd, s.isKey = true, false, 0, 0, s.next == awaitKey
	if s.isKey {
		s.key.reset()
		return
	}
	s.begin('"')
	s.value.reset()
}

func (s *jsonScan) inString(b byte) {
	switch {
	case s.escaped:
		s.escaped = false
		s.odd++
	case b == '\\':
		s.escaped = true
		return
	case b == '"':
		s.close()
		return
	}
	s.size++
	if !base64Byte[b] {
		s.odd++
	}
	if s.isKey {
		s.key.add(b)
	} else {
		s.value.add(b)
	}
}

func (s *jsonScan) close() {
	s.inText, s.next = false, awaitOther
	level := s.level()
	switch {
	case s.isKey && level == 1:
		s.top = s.key
	case s.isKey:
	case level == 1 && s.inObject() && string(s.key.text()) == "type":
		s.kind = s.value
	case s.str != nil:
		s.str(s.key.text(), s.value.text(), s.size, s.odd)
	}
	if s.depth == 0 {
		s.ended = true
	}
}

// level is the depth as if the text were no array.
func (s *jsonScan) level() int {
	if s.array {
		return s.depth - 1
	}
	return s.depth
}

func (s *jsonScan) inObject() bool {
	return s.depth > 0 && s.depth <= maxDepth && s.objects&(1<<s.depth) != 0
}

// begin looks at a value by its first byte.
func (s *jsonScan) begin(b byte) {
	if !s.inObject() {
		return
	}
	level, nested := s.level(), false
	switch top := string(s.top.text()); {
	case level == 2 && (top == "response" || top == "message"):
		nested = true
	case level != 1:
		return
	}
	switch key := string(s.key.text()); {
	case key == "error" && b != 'n':
		s.failed = true
	case b == '{' && s.keepTo == 0 && (key == "usage" || key == "usageMetadata" || key == "meta" && !nested):
		s.kept, s.keepTo = append(s.kept[:0], b), s.depth
	}
}

func (s *jsonScan) push(b byte) {
	if s.depth == 0 && b == '[' {
		s.array = true
	}
	s.depth++
	if s.next = awaitValue; b == '{' {
		s.next = awaitKey
	}
	if s.depth <= maxDepth {
		s.objects &^= 1 << s.depth
		if b == '{' {
			s.objects |= 1 << s.depth
		}
	}
}

func (s *jsonScan) pop() {
	s.depth, s.next = max(0, s.depth-1), awaitOther
	if s.keepTo > 0 && s.depth == s.keepTo {
		if s.keepTo = 0; s.usage != nil && len(s.kept) <= maxUsage {
			s.usage(s.kept, s.level() == 2)
		}
	}
	s.ended = s.depth == 0
}
