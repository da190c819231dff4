package strictjson_test

import (
	"encoding/json"
	"testing"

	"github.com/fosite-contrib/fosite-dcr/internal/strictjson"
)

// registration is what a native client typically sends.
const registration = `{
  "client_name": "Example Client",
  "client_uri": "https://client.example/",
  "logo_uri": "https://client.example/logo.png",
  "redirect_uris": ["http://127.0.0.1:33418/", "http://localhost:8787/callback", "com.example.app:/cb"],
  "grant_types": ["authorization_code", "refresh_token"],
  "response_types": ["code"],
  "token_endpoint_auth_method": "none",
  "application_type": "native",
  "scope": "openid offline_access mcp:tools",
  "contacts": ["ops@client.example"],
  "software_id": "4NRB1-0XZABZI9E6-5SM3R",
  "software_version": "2.2.1",
  "client_name#fr": "Exemple de client",
  "jwks": {"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "use": "sig",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}
}`

func BenchmarkObject(b *testing.B) {
	data := []byte(registration)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		err := strictjson.Object(data, strictjson.Limits{}, func(_ string, value strictjson.Value) error {
			value.Text()
			value.Texts()
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkEncodingJSON is what BenchmarkObject is measured by.
func BenchmarkEncodingJSON(b *testing.B) {
	data := []byte(registration)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var document map[string]any
		if err := json.Unmarshal(data, &document); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendString(b *testing.B) {
	dst := make([]byte, 0, 128)
	b.ReportAllocs()
	for b.Loop() {
		dst = strictjson.AppendString(dst[:0], "https://client.example/callback?tenant=a&x=ü")
	}
}
