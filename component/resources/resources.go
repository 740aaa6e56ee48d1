// Package resources reads the components in Dapr's resource files in the same way as the
// disk loader of daprd 1.18, so that a sidecar and Mortise find the same components in
// the same files.
//
// The types mirror Dapr's, including which fields are embedded, because that decides
// which values the YAML library converts to text. Dapr's own types would import client-go
// and controller-runtime. Package test/e2e compares both.
package resources

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dapr/kit/logger"
)

// namespaceVariable is the environment variable with the namespace of daprd and of
// Mortise.
const namespaceVariable = "NAMESPACE"

// Loader reads resource files.
type Loader struct {
	// LookupEnv is os.LookupEnv, or a replacement in tests.
	LookupEnv func(name string) (value string, ok bool)
	Log       logger.Logger
}

// Load returns the components in the folder or in the file, in the order in which daprd
// reads them. It returns components of every app, and all of several with the same name.
// Like daprd it skips components of other namespaces silently, and files and documents
// that cannot be read with a warning. It fails if the path cannot be read.
//
// Unlike daprd, which takes only folders, it reads a path that is a file, whatever its
// name.
func (l Loader) Load(path string) ([]*Component, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	read := l.readFile
	if info.IsDir() {
		read = l.readFolder
	}
	components, err := read(path)
	return slices.DeleteFunc(components, l.isOfOtherNamespace), err
}

// readFolder returns the components in the YAML files of the folder, without subfolders.
// It fails if the folder cannot be read. It logs files that cannot be read.
func (l Loader) readFolder(folder string) ([]*Component, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	var found []*Component
	for _, entry := range entries {
		file := filepath.Join(folder, entry.Name())
		switch extension := strings.ToLower(filepath.Ext(file)); {
		case entry.IsDir():
		case extension == ".yaml" || extension == ".yml":
			components, err := l.readRegular(file)
			if err != nil {
				l.Log.Warnf("Skipping a file in the resources folder: %v", err)
			}
			found = append(found, components...)
		default:
			l.Log.Warnf("Skipping %s in the resources folder: it is not a YAML file", file)
		}
	}
	return found, nil
}

// readRegular is readFile for files of a folder. It rejects links to folders, and pipes,
// whose opening would wait for a writer. daprd does not start with either.
func (l Loader) readRegular(file string) ([]*Component, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s must be a regular file, is %v", file, info.Mode().Type())
	}
	return l.readFile(file)
}

// readFile returns the components in the file. It fails if the file cannot be opened, and
// logs documents that cannot be read.
func (l Loader) readFile(file string) ([]*Component, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	components, err := parse(f)
	if err != nil {
		l.Log.Warnf("Skipping documents in %s that are not valid components: %v", file, err)
	}
	for _, c := range components {
		c.File = file
	}
	return components, nil
}

// isOfOtherNamespace reports whether the component and this process have different
// namespaces. It returns false if either has none.
func (l Loader) isOfOtherNamespace(c *Component) bool {
	namespace, _ := l.LookupEnv(namespaceVariable)
	return namespace != "" && c.Metadata.Namespace != "" && c.Metadata.Namespace != namespace
}

// ForApp returns the components that the daprd of the app uses. Like that daprd it fails
// if a component that the app may use has the name of a later component, even if the app
// may not use the later one.
func ForApp(components []*Component, app string) ([]*Component, error) {
	var used []*Component
	taken := map[string]*Component{}
	for _, c := range components {
		if earlier, ok := taken[c.Metadata.Name]; ok {
			return nil, fmt.Errorf("%s and %s define two components with the name %q", earlier.File, c.File, c.Metadata.Name)
		}
		if c.IsFor(app) {
			taken[c.Metadata.Name] = c
			used = append(used, c)
		}
	}
	return used, nil
}

// Check fails if no daprd starts with the components, whatever its app.
func Check(components []*Component) error {
	_, err := ForApp(components, "") // like an app that no scope names
	for _, c := range components {
		for _, app := range c.Scopes {
			if err == nil {
				return nil
			}
			_, err = ForApp(components, app)
		}
	}
	return err
}
