package metadata_test

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	metadatav1 "github.com/chronik-stream/chronik/proto/metadata/v1"
)

type fieldChange struct {
	what   string
	record *metadatav1.Record
}

// fieldChanges makes copies of r, in each of which one field has another value.
func fieldChanges(r *metadatav1.Record) []fieldChange {
	var list []fieldChange
	n := 0
	for {
		c := proto.CloneOf(r)
		at := 0
		what := changeNth(c.ProtoReflect(), n, &at)
		if what == "" {
			return list
		}
		list = append(list, fieldChange{what, c})
		n++
	}
}

// changeNth changes the n-th scalar field of m, in depth, and says which it was.
func changeNth(m protoreflect.Message, n int, at *int) string {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		fd := fields.Get(i)
		if fd.Kind() == protoreflect.MessageKind {
			if !m.Has(fd) {
				continue
			}
			if fd.IsList() {
				for k := range m.Get(fd).List().Len() {
					if what := changeNth(m.Get(fd).List().Get(k).Message(), n, at); what != "" {
						return what
					}
				}
			} else if what := changeNth(m.Get(fd).Message(), n, at); what != "" {
				return what
			}
			continue
		}
		*at++
		if *at-1 != n {
			continue
		}
		if fd.IsList() {
			list := m.Mutable(fd).List()
			list.Append(other(fd, list.NewElement()))
		} else {
			m.Set(fd, other(fd, m.Get(fd)))
		}
		return fmt.Sprintf("%s.%s", m.Descriptor().Name(), fd.Name())
	}
	return ""
}

// other is a value of fd that v is not.
func other(fd protoreflect.FieldDescriptor, v protoreflect.Value) protoreflect.Value {
	switch fd.Kind() {
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(!v.Bool())
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(v.Int()) + 1)
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(v.Int() + 1)
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(v.Uint() + 1)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(v.String() + "x")
	case protoreflect.BytesKind:
		b := append([]byte(nil), v.Bytes()...)
		if len(b) == 0 {
			b = make([]byte, 16)
		}
		b[15]++
		return protoreflect.ValueOfBytes(b)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(1 - v.Enum())
	}
	panic(fmt.Sprintf("no other value for a field of kind %v", fd.Kind()))
}
