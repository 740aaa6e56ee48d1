package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// mayCallStores are the folders whose code may call the methods of a store directly. All
// other code calls the helpers of package stores, which refuse what the store does not
// support and undo a grant whose caller has gone. Close is exempt: it has no helper.
var mayCallStores = []string{"stores", "test"}

// TestStoreMethods_CalledThroughHelpers checks the types of the main module's packages,
// without their tests.
func TestStoreMethods_CalledThroughHelpers(t *testing.T) {
	packages := listPackages(t)
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		export := packages[path].Export
		if export == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(export)
	})
	contract, err := imp.Import(module + "stores")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for path, p := range packages {
		folder, ours := strings.CutPrefix(path, module)
		if !ours || slices.ContainsFunc(mayCallStores, func(parent string) bool { return within(parent, folder) }) {
			continue
		}
		calls, err := storeCalls(fset, imp, contract, path, p)
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range calls {
			t.Errorf("%s, use the helper in package stores", call)
		}
		checked++
	}
	if checked < 5 {
		t.Errorf("only %d packages were checked", checked)
	}
}

// TestStoreCalls_Found checks that storeCalls sees every way to name a store's method.
func TestStoreCalls_Found(t *testing.T) {
	const source = `package p

import (
	"context"

	"github.com/mortise-lock/mortise/stores"
)

type own struct{ stores.Store }

func (o own) renew(context.Context) (stores.Grant, error) { return stores.Grant{}, nil }

type waiter struct{ w stores.Waiter }

func f(ctx context.Context, s stores.Store, o own, w waiter, r stores.Request) {
	_, _ = s.TryLock(ctx, r)
	_ = o.Unlock(ctx, "k", "o")
	_, _ = w.w.Lock(ctx, r)
	try := s.TryLock
	_, _ = try(ctx, r)
	_, _ = o.renew(ctx)
	_ = stores.Store.Unlock(s, ctx, "k", "o")
	_, _ = stores.TryLock(ctx, s, r)
	_ = s.Close()
}
`
	file := filepath.Join(t.TempDir(), "p.go")
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	packages := listPackages(t)
	fset := token.NewFileSet()
	imp := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(packages[path].Export)
	})
	contract, err := imp.Import(module + "stores")
	if err != nil {
		t.Fatal(err)
	}
	calls, err := storeCalls(fset, imp, contract, "p", goPackage{Dir: filepath.Dir(file), GoFiles: []string{"p.go"}})
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range []int{16, 17, 18, 19, 22} {
		if want := fmt.Sprintf("%s:%d:", file, line); i >= len(calls) || !strings.HasPrefix(calls[i], want) {
			t.Errorf("found are %q, want call %d at %s", calls, i, want)
		}
	}
	if len(calls) != 5 {
		t.Errorf("found are %q, want 5 calls", calls)
	}
}

// goPackage is what go list prints about a package.
type goPackage struct {
	ImportPath string
	Dir        string
	Export     string // the file with the types of its exported names
	GoFiles    []string
}

// listPackages returns the main module's packages and all that they import, by path.
func listPackages(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-deps", "-export", "-json=ImportPath,Dir,Export,GoFiles", "./...")
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	packages := map[string]goPackage{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// storeCalls returns the uses of a store's methods in a package, Close excepted, each as
// its position and name.
func storeCalls(
	fset *token.FileSet, imp types.Importer, contract *types.Package, path string, p goPackage,
) ([]string, error) {
	files := make([]*ast.File, len(p.GoFiles))
	for i, name := range p.GoFiles {
		file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files[i] = file
	}
	info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	if _, err := (&types.Config{Importer: imp}).Check(path, fset, files, info); err != nil {
		return nil, err
	}
	var calls []string
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			expr, ok := n.(*ast.SelectorExpr)
			if !ok || info.Selections[expr] == nil || !isStoreMethod(info.Selections[expr], contract) {
				return true
			}
			calls = append(calls, fmt.Sprintf("%s: a store's %s is called directly", fset.Position(expr.Pos()), expr.Sel.Name))
			return true
		})
	}
	return calls, nil
}

// isStoreMethod reports whether the selection is a method, Close excepted, of an
// interface that package stores declares for stores, or such a method of another type
// that is a Store.
func isStoreMethod(selection *types.Selection, contract *types.Package) bool {
	method := selection.Obj().Name()
	if selection.Kind() == types.FieldVal || method == "Close" {
		return false
	}
	for _, name := range contract.Scope().Names() {
		declared, ok := contract.Scope().Lookup(name).(*types.TypeName)
		if !ok || name == "Observer" {
			continue
		}
		ability, ok := declared.Type().Underlying().(*types.Interface)
		if !ok {
			continue
		}
		for m := range ability.Methods() {
			if m == selection.Obj() || m.Name() == method && isStore(selection.Recv(), contract) {
				return true
			}
		}
	}
	return false
}

func isStore(t types.Type, contract *types.Package) bool {
	store := contract.Scope().Lookup("Store").Type().Underlying().(*types.Interface)
	return types.Implements(t, store) || types.Implements(types.NewPointer(t), store)
}
