//go:build linux

package guest

import (
	"bytes"
	"crypto/sha1"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

const tagUniversalString = 28

// nameHash is what OpenSSL files a certificate under (openssl x509 -subject_hash): the
// beginning of the SHA-1 of the subject in canonical form.
func nameHash(rawSubject []byte) (string, error) {
	var sets []asn1.RawValue
	if _, err := asn1.Unmarshal(rawSubject, &sets); err != nil {
		return "", fmt.Errorf("name: %w", err)
	}
	var all []byte
	for _, set := range sets {
		text, err := canonicalSet(set.FullBytes)
		if err != nil {
			return "", fmt.Errorf("name: %w", err)
		}
		all = append(all, text...)
	}
	sum := sha1.Sum(all)
	return fmt.Sprintf("%08x", binary.LittleEndian.Uint32(sum[:])), nil
}

// attribute is one part of a name, with its value as it stands.
type attribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

type attributeSET []attribute // asn1 knows a set by this suffix

func canonicalSet(raw []byte) ([]byte, error) {
	var set attributeSET
	if _, err := asn1.Unmarshal(raw, &set); err != nil {
		return nil, err
	}
	var all [][]byte
	for _, a := range set {
		value, err := canonicalValue(a.Value)
		if err != nil {
			return nil, err
		}
		text, err := asn1.Marshal(attribute{a.Type, value})
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	slices.SortFunc(all, bytes.Compare) // what was changed may stand in another order
	return asn1.Marshal(asn1.RawValue{Tag: asn1.TagSet, IsCompound: true, Bytes: bytes.Join(all, nil)})
}

// canonicalValue is a text as UTF-8 in lower case, with single spaces. Other values stay.
func canonicalValue(v asn1.RawValue) (asn1.RawValue, error) {
	if v.Class != asn1.ClassUniversal {
		return v, nil
	}
	text := string(v.Bytes)
	switch v.Tag {
	case asn1.TagUTF8String, asn1.TagPrintableString, asn1.TagIA5String:
	case asn1.TagT61String: // which everybody takes for Latin-1
		runes := make([]rune, len(v.Bytes))
		for i, b := range v.Bytes {
			runes[i] = rune(b)
		}
		text = string(runes)
	case asn1.TagBMPString:
		units := make([]uint16, len(v.Bytes)/2)
		for i := range units {
			units[i] = binary.BigEndian.Uint16(v.Bytes[2*i:])
		}
		text = string(utf16.Decode(units))
	case tagUniversalString:
		return v, fmt.Errorf("texts of the type %d are not supported", v.Tag)
	default:
		return v, nil
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) })
	text = strings.Map(lowerASCII, strings.Join(words, " "))
	return asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(text)}, nil
}

// lowerASCII leaves other letters as they are, as OpenSSL does.
func lowerASCII(r rune) rune {
	if 'A' <= r && r <= 'Z' {
		return r + 'a' - 'A'
	}
	return r
}
