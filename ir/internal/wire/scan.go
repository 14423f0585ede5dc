// Package wire reads the protobuf wire format of ONNX files without copying the
// weights in them.
//
//	file bytes -> Scan -> a small copy of the message in which every raw_data field
//	                      holds a Span instead of its bytes -> proto.Unmarshal
//
// Scan also refuses what protobuf would forgive or what would cost too much: a known
// field of the wrong wire type, text that is not UTF-8, messages nested too deep.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Span says where in the scanned bytes a raw_data field lies.
type Span struct{ Off, Len int }

// ParseSpan reads the bytes that Scan put in place of a raw_data field.
func ParseSpan(b []byte) Span {
	return Span{int(binary.LittleEndian.Uint64(b)), int(binary.LittleEndian.Uint64(b[8:]))}
}

// ErrDepth reports messages nested deeper than the limit.
var ErrDepth = errors.New("messages are nested too deep")

// Limits bound a scan.
type Limits struct {
	Depth int // how deep messages may nest
	Bytes int // how many bytes the copy may take
}

// Scan checks data against the message type md and returns the copy to unmarshal.
// Errors say which field at which byte is wrong.
func Scan(data []byte, md protoreflect.MessageDescriptor, lim Limits) ([]byte, error) {
	s := &scanner{all: data, lim: lim, fields: map[protoreflect.FullName]map[protowire.Number]*field{}}
	return s.message(nil, 0, len(data), md, 0)
}

type field struct {
	name   string
	kind   protoreflect.Kind
	list   bool
	sub    protoreflect.MessageDescriptor
	isText bool
	isRaw  bool
}

type scanner struct {
	all    []byte
	lim    Limits
	fields map[protoreflect.FullName]map[protowire.Number]*field
}

func (s *scanner) of(md protoreflect.MessageDescriptor) map[protowire.Number]*field {
	if m, ok := s.fields[md.FullName()]; ok {
		return m
	}
	m := make(map[protowire.Number]*field)
	fds := md.Fields()
	for i := range fds.Len() {
		fd := fds.Get(i)
		m[fd.Number()] = &field{
			name: string(fd.Name()), kind: fd.Kind(), list: fd.IsList(), sub: fd.Message(),
			isText: fd.Kind() == protoreflect.StringKind,
			isRaw:  md.Name() == "TensorProto" && fd.Name() == "raw_data",
		}
	}
	s.fields[md.FullName()] = m
	return m
}

// message appends the copy of all[pos:end] to out.
func (s *scanner) message(out []byte, pos, end int, md protoreflect.MessageDescriptor, depth int) ([]byte, error) {
	if depth > s.lim.Depth {
		return nil, fmt.Errorf("%w: more than %d levels at byte %d", ErrDepth, s.lim.Depth, pos)
	}
	fields := s.of(md)
	for pos < end {
		b := s.all[pos:end]
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, s.fail(md, nil, pos, protowire.ParseError(n))
		}
		f := fields[num]
		if f == nil { // unknown fields are skipped, as protobuf does
			m := protowire.ConsumeFieldValue(num, typ, b[n:])
			if m < 0 {
				return nil, s.fail(md, nil, pos, protowire.ParseError(m))
			}
			pos += n + m
			continue
		}
		if want, ok := f.accepts(typ); !ok {
			return nil, s.fail(md, f, pos, fmt.Errorf("wrong wire type %d, want %d", typ, want))
		}
		if typ != protowire.BytesType {
			m := protowire.ConsumeFieldValue(num, typ, b[n:])
			if m < 0 {
				return nil, s.fail(md, f, pos, protowire.ParseError(m))
			}
			out = append(out, b[:n+m]...)
			pos += n + m
			continue
		}
		size, m := protowire.ConsumeVarint(b[n:])
		if m < 0 {
			return nil, s.fail(md, f, pos, protowire.ParseError(m))
		}
		body := pos + n + m
		if size > uint64(end-body) {
			return nil, s.fail(md, f, pos, fmt.Errorf("length %d goes past the end, %d bytes are left (truncated file?)", size, end-body))
		}
		pos = body + int(size)
		switch {
		case f.isRaw:
			out = protowire.AppendTag(out, num, typ)
			out = protowire.AppendVarint(out, 16)
			out = binary.LittleEndian.AppendUint64(out, uint64(body))
			out = binary.LittleEndian.AppendUint64(out, size)
		case f.sub != nil:
			var err error
			if out, err = s.nested(out, num, body, pos, f.sub, depth+1); err != nil {
				return nil, err
			}
		default:
			if f.isText && !utf8.Valid(s.all[body:pos]) {
				return nil, s.fail(md, f, body, fmt.Errorf("text %q is not UTF-8", short(s.all[body:pos])))
			}
			out = protowire.AppendTag(out, num, typ)
			out = protowire.AppendBytes(out, s.all[body:pos])
		}
		if len(out) > s.lim.Bytes {
			return nil, s.fail(md, f, body, fmt.Errorf("the model's structure takes more than %d bytes", s.lim.Bytes))
		}
	}
	return out, nil
}

// nested appends a submessage: its length is known only after it was copied, so room
// for five bytes of length is kept and closed up again.
func (s *scanner) nested(out []byte, num protowire.Number, pos, end int, md protoreflect.MessageDescriptor, depth int) ([]byte, error) {
	out = protowire.AppendTag(out, num, protowire.BytesType)
	const room = 5
	at := len(out)
	out = append(out, make([]byte, room)...)
	out, err := s.message(out, pos, end, md, depth)
	if err != nil {
		return nil, err
	}
	size := len(out) - at - room
	// An over-long varint is legal and keeps the bytes where they are.
	v := uint64(size)
	for i := range room {
		out[at+i] = byte(v&0x7f) | 0x80
		v >>= 7
	}
	out[at+room-1] &^= 0x80
	if v != 0 {
		return nil, s.fail(md, nil, pos, errors.New("the model's structure takes more than 32 GiB"))
	}
	return out, nil
}

func (f *field) accepts(typ protowire.Type) (want protowire.Type, ok bool) {
	switch f.kind {
	case protoreflect.MessageKind, protoreflect.StringKind, protoreflect.BytesKind:
		return protowire.BytesType, typ == protowire.BytesType
	case protoreflect.FloatKind:
		want = protowire.Fixed32Type
	case protoreflect.DoubleKind:
		want = protowire.Fixed64Type
	default:
		want = protowire.VarintType
	}
	return want, typ == want || f.list && typ == protowire.BytesType
}

func (s *scanner) fail(md protoreflect.MessageDescriptor, f *field, pos int, err error) error {
	if f != nil {
		return fmt.Errorf("invalid protobuf at byte %d, field %s of %s: %w", pos, f.name, md.Name(), err)
	}
	return fmt.Errorf("invalid protobuf at byte %d, in %s: %w", pos, md.Name(), err)
}

func short(b []byte) string {
	if len(b) > 40 {
		return string(b[:40]) + "..."
	}
	return string(b)
}
