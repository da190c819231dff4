package request_test

import (
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fosite-contrib/fosite-dcr/internal/request"
)

func TestOneMethod(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		query, basic, form string
		want               error
	}{
		"none":              {"", "", "client_id=a", nil},
		"basic":             {"", "a", "", nil},
		"basic_and_its_id":  {"", "a", "client_id=a", nil},
		"basic_and_another": {"", "a", "client_id=b", request.ErrOtherClient},
		"post":              {"", "", "client_id=a&client_secret=x", nil},
		"empty_secret":      {"", "a", "client_id=a&client_secret=", nil},
		"basic_and_post":    {"", "a", "client_id=a&client_secret=x", request.ErrMethods},
		"post_and_jwt":      {"", "", "client_secret=x&client_assertion=y", request.ErrMethods},
		"basic_and_jwt":     {"", "a", "client_assertion_type=y", request.ErrMethods},
		"secret_in_query":   {"client_secret=x", "", "", request.ErrQueryCredentials},
		"jwt_in_query":      {"client_assertion=x", "a", "", request.ErrQueryCredentials},
	} {
		t.Run("AUTH-06/"+name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("POST", "/?"+row.query, nil)
			if row.basic != "" {
				r.SetBasicAuth(row.basic, "x")
			}
			form, err := url.ParseQuery(row.form)
			require.NoError(t, err)
			basic, err := request.OneMethod(r, form)
			require.Equal(t, row.want, err)
			require.Equal(t, row.basic != "" && row.query == "", basic)
		})
	}
}
