package storagetest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v3"

	dcr "github.com/fosite-contrib/fosite-dcr"
)

// newID returns an identifier that no other row has.
func newID() string { return "storagetest-" + rand.Text() }

// sample returns a record under a new identifier in which every field has a value, no
// two alike. Records with different labels differ in every field.
func sample(label string) *dcr.Client {
	c := filled[dcr.Client](label)
	c.ID, c.Version = newID(), 1
	return c
}

func filled[T any](label string) *T {
	record := new(T)
	f := filler{label: label, time: time.Now().UTC().Truncate(time.Second).AddDate(0, len(label), 0)}
	f.fill(reflect.ValueOf(record).Elem(), "")
	return record
}

// successor returns another record for the client, different in every field, with the
// next version.
func successor(c *dcr.Client, label string) *dcr.Client {
	next := sample(label)
	next.ID, next.Version = c.ID, c.Version+1
	return next
}

// detached returns a copy that shares nothing with the record.
func detached[T any](record *T) *T {
	d, err := viaJSON(record)
	if err != nil {
		panic(err)
	}
	return d
}

func viaJSON[T any](record *T) (*T, error) {
	data, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	d := new(T)
	return d, json.Unmarshal(data, d)
}

// filler gives values to all fields, so that a field that is new in the record is
// checked, too.
type filler struct {
	label string
	time  time.Time
}

func (f *filler) fill(v reflect.Value, path string) {
	switch field := v.Addr().Interface().(type) {
	case *time.Time:
		f.time = f.time.Add(time.Hour)
		*field = f.time
	case *[]byte:
		*field = []byte(path + f.label)
	case *map[string]string:
		*field = map[string]string{"client_name#fr": path + f.label}
	case *map[string]json.RawMessage:
		*field = map[string]json.RawMessage{"storagetest": json.RawMessage(strconv.Quote(path + f.label))}
	case **jose.JSONWebKeySet:
		*field = keySet(path + f.label)
	default:
		f.fillKind(v, path)
	}
}

func (f *filler) fillKind(v reflect.Value, path string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(path + " of the " + f.label + " \"record\" \\ 100% 日本 🎈")
	case reflect.Bool:
		v.SetBool(len(f.label)%2 == 1)
	case reflect.Int, reflect.Int64:
		v.SetInt(int64(len(path) + 1000*len(f.label)))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), path)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			f.fill(v.Index(i), path+"["+strconv.Itoa(i)+"]")
		}
	case reflect.Struct:
		for _, field := range reflect.VisibleFields(v.Type()) {
			if field.IsExported() {
				f.fill(v.FieldByIndex(field.Index), path+"."+field.Name)
			}
		}
	default:
		panic("storagetest: no value for " + path + ", a " + v.Type().String())
	}
}

// keySet returns one public key.
func keySet(keyID string) *jose.JSONWebKeySet {
	var key jose.JSONWebKey
	err := key.UnmarshalJSON([]byte(`{"kty":"EC","crv":"P-256","use":"sig","alg":"ES256",` +
		`"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`))
	if err != nil {
		panic(err)
	}
	key.KeyID = keyID
	return &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key}}
}

// spoil changes every field of a record, in place: also what lies behind pointers, in
// slices and in maps, and so what another record shares with it.
func spoil(record any) { walk(reflect.ValueOf(record).Elem(), spoilField) }

func spoilField(v reflect.Value) {
	switch field := v.Addr().Interface().(type) {
	case *time.Time:
		*field = field.Add(time.Second)
	case *[]byte:
		clear(*field)
	case *map[string]string:
		for name := range *field {
			(*field)[name] = "spoiled"
		}
	case *map[string]json.RawMessage:
		for name := range *field {
			(*field)[name] = json.RawMessage(`"spoiled"`)
		}
	case *jose.JSONWebKeySet:
		field.Keys[0].KeyID = "spoiled"
	case *string:
		*field = "spoiled"
	case *bool:
		*field = !*field
	case *int64:
		*field++
	case *int:
		*field++
	}
}

// walk visits every value of a record that has a value of its own.
func walk(v reflect.Value, visit func(reflect.Value)) {
	switch v.Addr().Interface().(type) {
	case *time.Time, *[]byte, *jose.JSONWebKeySet:
		visit(v)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem(), visit)
		}
	case reflect.Slice:
		for i := range v.Len() {
			walk(v.Index(i), visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				walk(v.Field(i), visit)
			}
		}
	default:
		visit(v)
	}
}

// same returns an error that names the fields in which two records differ. Times count
// to the second.
func same[T any](what string, got, want *T) error {
	if got == nil {
		return fmt.Errorf("%s: there is no record, and no error", what)
	}
	g, err := plain(got)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	w, err := plain(want)
	if err != nil {
		return err
	}
	if differences := compare("", g, w); len(differences) > 0 {
		return fmt.Errorf("%s: the record is not what it has to be:\n%s\nThe record: %s", what, strings.Join(differences, "\n"), shown(got))
	}
	return nil
}

// shown returns the JSON form of a record, for an error.
func shown[T any](record *T) string {
	data, err := json.Marshal(record)
	if err != nil {
		return err.Error()
	}
	const most = 700 // what comes first in a record tells which it is
	if text := []rune(string(data)); len(text) > most {
		return string(text[:most]) + fmt.Sprintf("... and %d characters more", len(text)-most)
	}
	return string(data)
}

// plain returns the JSON form of a record as Go values.
func plain[T any](record *T) (value any, err error) {
	record, err = viaJSON(record)
	if err != nil {
		return nil, err
	}
	walk(reflect.ValueOf(record).Elem(), func(v reflect.Value) {
		if t, ok := v.Addr().Interface().(*time.Time); ok {
			*t = t.UTC().Truncate(time.Second)
		}
	})
	data, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	return value, json.Unmarshal(data, &value)
}

// compare returns a line for each field that differs.
func compare(path string, got, want any) []string {
	g, gotObject := got.(map[string]any)
	w, wantObject := want.(map[string]any)
	if !gotObject || !wantObject {
		if reflect.DeepEqual(got, want) {
			return nil
		}
		return []string{fmt.Sprintf("  the field %s is %s, and has to be %s", strings.TrimPrefix(path, "."), shown(&got), shown(&want))}
	}
	names := maps.Clone(g)
	maps.Copy(names, w)
	var differences []string
	for _, name := range slices.Sorted(maps.Keys(names)) {
		differences = append(differences, compare(path+"."+name, g[name], w[name])...)
	}
	return differences
}
