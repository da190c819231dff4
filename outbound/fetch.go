package outbound

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// Fetch gets a URL with a client of NewClient and returns the body. The answer must have the status 200
// and one of the media types, whatever their parameters; without any, each will do. A body in a coding
// that the client did not undo is refused with ErrMediaType.
func Fetch(ctx context.Context, client *http.Client, url string, mediaTypes ...string) ([]byte, error) {
	body, _, err := fetch(ctx, client, url, mediaTypes)
	return body, err
}

// fetch is Fetch, with the header of the answer.
func fetch(ctx context.Context, client *http.Client, url string, mediaTypes []string) ([]byte, http.Header, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, err
	}
	if len(mediaTypes) > 0 {
		request.Header.Set("Accept", strings.Join(mediaTypes, ", "))
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, nil, &StatusError{response.StatusCode}
	}
	if !acceptable(response.Header, mediaTypes) {
		return nil, nil, fmt.Errorf("%w: %.100q", ErrMediaType, response.Header.Get("Content-Type"))
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, err
	}
	return body, response.Header, nil
}

// acceptable reports whether a header announces one of the media types in no coding.
func acceptable(header http.Header, mediaTypes []string) bool {
	if coding := header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return false
	}
	mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	return len(mediaTypes) == 0 || err == nil && slices.Contains(mediaTypes, mediaType)
}
