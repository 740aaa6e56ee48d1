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

// request is what a call says. Unlock has no use for seconds.
type request struct {
	resource string
	owner    string
	seconds  int32
}

// status is an unlock's answer, numbered as in Dapr's API.
type status int32

const (
	unlocked        status = 0
	doesNotExist    status = 1
	belongsToOthers status = 2
)

// API is a way into a sidecar.
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

// httpClient has a timeout of its own, beyond any a test expects.
var httpClient = &http.Client{Timeout: 2 * waitTimeout}

// httpError is an answer other than 200.
type httpError struct {
	code int    // HTTP's
	body string // as it came
}

func (e *httpError) Error() string { return fmt.Sprintf("%d %s", e.code, e.body) }

func (d httpAPI) tryLock(ctx context.Context, store string, r request) (bool, error) {
	var resp struct{ Success *bool }
	err := d.call(ctx, "lock", store, r, &resp)
	if err == nil && resp.Success == nil {
		err = fmt.Errorf("the answer has no field success")
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
		err = fmt.Errorf("the answer has no field status")
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

// post returns the answer as it comes.
func (d httpAPI) post(ctx context.Context, verb, store string, body []byte) (code int, answer string, err error) {
	return postJSON(ctx, fmt.Sprintf("%s/v1.0-alpha1/%s/%s", d.base, verb, store), body)
}

// postJSON returns the answer to a request.
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

// json is the body of an HTTP request. Bytes that are no UTF-8 stay what they are, which
// encoding/json would not let them.
func (r request) json() []byte {
	return fmt.Appendf(nil, `{"resourceId":"%s","lockOwner":"%s","expiryInSeconds":%d}`, r.resource, r.owner, r.seconds)
}
