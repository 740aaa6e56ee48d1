// Dapr's lock API as an app calls it.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	dapr "github.com/dapr/go-sdk/client"
)

// request holds the arguments of a call. Unlock ignores seconds.
type request struct {
	resource string
	owner    string
	seconds  int32
}

// status is the result of an unlock, numbered as in Dapr's API.
type status int32

const (
	unlocked        status = 0
	doesNotExist    status = 1
	belongsToOthers status = 2
)

// api is Dapr's lock API over one protocol.
type api interface {
	tryLock(ctx context.Context, store string, r request) (bool, error)
	unlock(ctx context.Context, store string, r request) (status, error)
}

// sdkAPI calls through Dapr's Go SDK.
type sdkAPI struct{ client dapr.Client }

func (d sdkAPI) tryLock(ctx context.Context, store string, r request) (bool, error) {
	resp, err := d.client.TryLockAlpha1(ctx, store,
		&dapr.LockRequest{ResourceID: r.resource, LockOwner: r.owner, ExpiryInSeconds: r.seconds})
	if err != nil {
		return false, err
	}
	return resp.Success, nil
}

func (d sdkAPI) unlock(ctx context.Context, store string, r request) (status, error) {
	resp, err := d.client.UnlockAlpha1(ctx, store, &dapr.UnlockRequest{ResourceID: r.resource, LockOwner: r.owner})
	if err != nil {
		return 0, err
	}
	return status(resp.StatusCode), nil
}

// httpAPI calls the routes of Dapr's HTTP API.
type httpAPI struct{ base string }

// httpClient has a timeout longer than any that a test expects.
var httpClient = &http.Client{Timeout: 2 * waitTimeout}

// httpError is a response with a status other than 200.
type httpError struct {
	code int    // HTTP's
	body string // unchanged
}

func (e *httpError) Error() string { return fmt.Sprintf("%d %s", e.code, e.body) }

func (d httpAPI) tryLock(ctx context.Context, store string, r request) (bool, error) {
	var resp struct{ Success *bool }
	err := d.call(ctx, "lock", store, r, &resp)
	if err == nil && resp.Success == nil {
		err = fmt.Errorf("the response has no field success")
	}
	if err != nil {
		return false, err
	}
	return *resp.Success, nil
}

func (d httpAPI) unlock(ctx context.Context, store string, r request) (status, error) {
	var resp struct{ Status *status }
	err := d.call(ctx, "unlock", store, r, &resp)
	if err == nil && resp.Status == nil {
		err = fmt.Errorf("the response has no field status")
	}
	if err != nil {
		return 0, err
	}
	return *resp.Status, nil
}

func (d httpAPI) call(ctx context.Context, verb, store string, r request, resp any) error {
	code, body, err := d.post(ctx, verb, store, r.json())
	if err != nil {
		return err
	}
	if code != http.StatusOK {
		return &httpError{code, body}
	}
	return json.Unmarshal([]byte(body), resp)
}

// post returns the response unchanged.
func (d httpAPI) post(ctx context.Context, verb, store string, body []byte) (code int, answer string, err error) {
	return postJSON(ctx, fmt.Sprintf("%s/v1.0-alpha1/%s/%s", d.base, verb, store), body)
}

// postJSON posts the body and returns the response.
func postJSON(ctx context.Context, url string, body []byte) (code int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	resp, err := httpClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// json returns the body of an HTTP request. It keeps bytes that are not UTF-8, which
// encoding/json would replace.
func (r request) json() []byte {
	return fmt.Appendf(nil, `{"resourceId":"%s","lockOwner":"%s","expiryInSeconds":%d}`, r.resource, r.owner, r.seconds)
}
