// Package resources reads the components in Dapr's resource files as the disk loader of
// daprd 1.18 does, so that a sidecar and Mortise find the same components in the same
// files.
//
// The types mirror Dapr's own, down to which field is embedded, because that decides
// which values the YAML library converts to text. Dapr's types are not used: they pull in
// client-go and controller-runtime. Package test/e2e compares both.
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
	// LookupEnv is os.LookupEnv, or stands for it.
	LookupEnv func(name string) (value string, ok bool)
	Log       logger.Logger
}

// Load returns the components in the folder, or in the file, in the order in which daprd
// reads them: those for every app, and of several that have the same name, all. It skips
// what daprd skips: silently components of other namespaces, and with a warning files and
// documents that cannot be read. It fails if the path cannot be read.
//
// daprd takes folders only. A path that is a file is read whatever its name is.
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

// readFolder returns the components in the YAML files of the folder, but not of folders
// below it. It fails if the folder cannot be read. Files that cannot be read are logged.
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

// readRegular is readFile for files of a folder. A link there can lead to a folder, and
// opening a pipe would wait for a writer; daprd does not start with either.
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
// logs what cannot be read as a component.
func (l Loader) readFile(file string) ([]*Component, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	components, err := parse(f)
	if err != nil {
		l.Log.Warnf("Skipping what cannot be read as a component in %s: %v", file, err)
	}
	for _, c := range components {
		c.File = file
	}
	return components, nil
}

// isElsewhere reports whether the component belongs to a namespace other than that of
// this process. If either names no namespace, it does not.
func (l Loader) isOfOtherNamespace(c *Component) bool {
	namespace, _ := l.LookupEnv(namespaceVariable)
	return namespace != "" && c.Metadata.Namespace != "" && c.Metadata.Namespace != namespace
}

// ForApp returns those of the components that the daprd of the app uses. It fails where
// that daprd does not start, because the name of a component that the app may use is
// repeated by a later component, whether or not the app may use that one.
func ForApp(components []*Component, app string) ([]*Component, error) {
	var used []*Component
	taken := map[string]*Component{}
	for _, c := range components {
		if earlier, ok := taken[c.Metadata.Name]; ok {
			return nil, fmt.Errorf("%s and %s define two components of the name %q", earlier.File, c.File, c.Metadata.Name)
		}
		if c.IsFor(app) {
			taken[c.Metadata.Name] = c
			used = append(used, c)
		}
	}
	return used, nil
}

// Check fails if no daprd starts with the components, whichever its app is.
func Check(components []*Component) error {
	_, err := ForApp(components, "") // which stands for every app that no scope names
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
