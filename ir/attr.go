package ir

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Attr is one attribute of a node, seen without knowing its op: how importers,
// exporters, the text form, plans and comparisons reach the typed attribute structs.
//
// The fields of an attribute struct may be int64, float32, string, bool, []int64,
// []float32, []string, tensor.DType, *tensor.Tensor, *int64, *float32 (absent unless
// given), or a named type whose kind is one of these.
type Attr struct {
	Name  string
	Value any // int64, float32, string, []int64, []float32, []string, *tensor.Tensor, tensor.DType or bool
}

// AttrsOf lists the attributes of a struct in field order. Absent ones (nil
// pointers, slices and tensors) are left out; defaults are not.
func AttrsOf(attrs any) []Attr {
	if attrs == nil {
		return nil
	}
	v := reflect.ValueOf(attrs).Elem()
	var out []Attr
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("attr")
		if name == "" {
			continue
		}
		if x, ok := plainAttr(v.Field(i)); ok {
			out = append(out, Attr{name, x})
		}
	}
	return out
}

func plainAttr(f reflect.Value) (any, bool) {
	switch x := f.Interface().(type) {
	case tensor.DType:
		return x, x != tensor.Invalid
	case *tensor.Tensor:
		return x, x != nil
	}
	switch f.Kind() {
	case reflect.Int64, reflect.Int:
		return f.Int(), true
	case reflect.Float32:
		return float32(f.Float()), true
	case reflect.String:
		return f.String(), true
	case reflect.Bool:
		return f.Bool(), true
	case reflect.Pointer:
		if f.IsNil() {
			return nil, false
		}
		return plainAttr(f.Elem())
	case reflect.Slice:
		if f.IsNil() {
			return nil, false
		}
		switch f.Type().Elem().Kind() {
		case reflect.Int64:
			return f.Convert(reflect.TypeFor[[]int64]()).Interface(), true
		case reflect.Float32:
			return f.Convert(reflect.TypeFor[[]float32]()).Interface(), true
		case reflect.String:
			return f.Convert(reflect.TypeFor[[]string]()).Interface(), true
		}
	}
	panic(fmt.Sprintf("ir: attribute field of type %s", f.Type()))
}

// HasAttr reports whether the struct has an attribute of that name.
func HasAttr(attrs any, name string) bool { return attrField(attrs, name).IsValid() }

func attrField(attrs any, name string) reflect.Value {
	if attrs == nil {
		return reflect.Value{}
	}
	v := reflect.ValueOf(attrs).Elem()
	for i := range v.NumField() {
		if v.Type().Field(i).Tag.Get("attr") == name {
			return v.Field(i)
		}
	}
	return reflect.Value{}
}

// SetAttr sets an attribute by name. Integers go into bool and DType fields too (a
// DType takes the number of TensorProto.DataType). A missing name or a value of
// another kind gives ErrAttr.
func SetAttr(attrs any, name string, value any) error {
	f := attrField(attrs, name)
	if !f.IsValid() {
		return fmt.Errorf("%w: no attribute %q", ErrAttr, name)
	}
	if f.Kind() == reflect.Pointer && f.Type() != reflect.TypeFor[*tensor.Tensor]() {
		p := reflect.New(f.Type().Elem())
		if err := setPlain(p.Elem(), name, value); err != nil {
			return err
		}
		f.Set(p)
		return nil
	}
	return setPlain(f, name, value)
}

func setPlain(f reflect.Value, name string, value any) error {
	bad := func() error {
		return fmt.Errorf("%w: %q cannot be %T", ErrAttr, name, value)
	}
	if f.Type() == reflect.TypeFor[tensor.DType]() {
		switch x := value.(type) {
		case tensor.DType:
			f.Set(reflect.ValueOf(x))
			return nil
		case int64:
			dt, ok := tensor.FromONNX(int(x))
			if !ok && x != 0 {
				return fmt.Errorf("%w: %q: no element type has number %d", ErrAttr, name, x)
			}
			f.Set(reflect.ValueOf(dt))
			return nil
		}
		return bad()
	}
	switch x := value.(type) {
	case int64:
		switch f.Kind() {
		case reflect.Int64, reflect.Int:
			f.SetInt(x)
			return nil
		case reflect.Bool:
			f.SetBool(x != 0)
			return nil
		case reflect.Float32:
			return bad()
		}
	case bool:
		if f.Kind() == reflect.Bool {
			f.SetBool(x)
			return nil
		}
	case float32:
		if f.Kind() == reflect.Float32 {
			f.SetFloat(float64(x))
			return nil
		}
	case string:
		if f.Kind() == reflect.String {
			f.SetString(x)
			return nil
		}
	case []int64, []float32, []string:
		v := reflect.ValueOf(x)
		if f.Kind() == reflect.Slice && v.Type().ConvertibleTo(f.Type()) {
			f.Set(v.Convert(f.Type()))
			return nil
		}
	case *tensor.Tensor:
		if f.Type() == reflect.TypeFor[*tensor.Tensor]() {
			f.Set(reflect.ValueOf(x))
			return nil
		}
	}
	return bad()
}

// CloneAttrs copies an attribute struct; slices are copied, tensors shared.
func CloneAttrs(attrs any) any {
	if attrs == nil {
		return nil
	}
	v := reflect.ValueOf(attrs).Elem()
	c := reflect.New(v.Type())
	c.Elem().Set(v)
	for i := range v.NumField() {
		f := c.Elem().Field(i)
		if f.Kind() == reflect.Slice && f.CanSet() && !f.IsNil() {
			s := reflect.MakeSlice(f.Type(), f.Len(), f.Len())
			reflect.Copy(s, f)
			f.Set(s)
		}
	}
	return c.Interface()
}

// EqualAttrs reports whether two attribute lists say the same.
func EqualAttrs(a, b any) bool {
	x, y := AttrsOf(a), AttrsOf(b)
	return slices.EqualFunc(x, y, func(p, q Attr) bool {
		if p.Name != q.Name {
			return false
		}
		if t, ok := p.Value.(*tensor.Tensor); ok {
			u, ok := q.Value.(*tensor.Tensor)
			return ok && tensor.Equal(t, u)
		}
		return reflect.DeepEqual(p.Value, q.Value)
	})
}
