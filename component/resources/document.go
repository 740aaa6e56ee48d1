package resources

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"sigs.k8s.io/yaml"
)

const (
	apiVersion = "dapr.io/v1alpha1"
	kind       = "Component"
)

// separator starts the line between two documents. The rest of that line is ignored.
var separator = []byte("\n---")

// parse returns the components in a file. The error, if any, lists the documents that
// cannot be read. parse skips documents of another kind.
func parse(file io.Reader) ([]*Component, error) {
	var (
		components []*Component
		errs       []error
	)
	documents := bufio.NewScanner(file)
	documents.Split(splitDocument)
	for documents.Scan() {
		c, err := parseDocument(documents.Bytes())
		if err != nil {
			errs = append(errs, err)
		} else if c != nil {
			components = append(components, c)
		}
	}
	// A document that is longer than the scanner's buffer ends the file. daprd retries it
	// forever.
	return components, errors.Join(append(errs, documents.Err())...)
}

// parseDocument returns the component in the document, or nil if the document has another
// kind.
func parseDocument(text []byte) (*Component, error) {
	var head struct {
		TypeMeta `json:",inline"`
		Metadata ObjectMeta `json:"metadata"`
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	if head.APIVersion != apiVersion || head.Kind != kind {
		return nil, nil
	}
	if err := checkName(head.Metadata.Name); err != nil {
		return nil, err
	}
	c := new(Component)
	if err := yaml.Unmarshal(text, c); err != nil {
		return nil, err
	}
	return c, nil
}

// checkName returns an error if the name cannot be a segment of a URL path.
func checkName(name string) error {
	if name == "." || name == ".." || strings.ContainsAny(name, "/%") {
		return fmt.Errorf("metadata.name must be neither . nor .. and must contain neither / nor %%, got %q", name)
	}
	return nil
}

// splitDocument is a [bufio.SplitFunc] for the documents of a file. As in daprd, a
// document is dropped if the separator after it is the last line of the file, has text
// after the dashes and does not end in a newline.
func splitDocument(data []byte, atEOF bool) (advance int, document []byte, err error) {
	if atEOF && len(data) == 0 {
		return 0, nil, nil
	}
	before, after, found := bytes.Cut(data, separator)
	if !found {
		if atEOF {
			return len(data), data, nil
		}
		return 0, nil, nil
	}
	if newline := bytes.IndexByte(after, '\n'); newline >= 0 {
		return len(before) + len(separator) + newline + 1, before, nil
	}
	if atEOF && len(after) == 0 {
		return len(data), before, nil
	}
	return 0, nil, nil
}
