package redis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// luaGlobals are the global names that scripts may read: those of Redis and of Lua's
// library as far as Redis has it.
var luaGlobals = []string{"KEYS", "ARGV", "redis", "string", "table", "math", "ipairs", "next", "tonumber", "tostring", "type", "unpack"}

// lintLua returns what is wrong with a Lua script: syntax errors, names that are not
// defined where they are used, global variables, variables that are not used, and two
// variables of one name in one block. Variables at the top level are left to the caller,
// because a script includes whole files: it returns for each of them whether it is used.
func lintLua(name, text string) (findings []string, topLevel map[string]bool) {
	chunk, err := parse.Parse(strings.NewReader(text), name)
	if err != nil {
		return []string{err.Error()}, nil
	}
	l := &linter{name: name, topLevel: map[string]bool{}}
	l.block(chunk, nil, 0)
	return l.findings, l.topLevel
}

// linter walks the syntax tree with the variables that are in scope.
type linter struct {
	name     string
	findings []string
	scopes   []*scope
	topLevel map[string]bool
}

// scope holds the variables of one block.
type scope struct{ variables []*variable }

type variable struct {
	name string
	line int
	used bool
}

func (l *linter) report(line int, format string, args ...any) {
	l.findings = append(l.findings, fmt.Sprintf("%s:%d: %s", l.name, line, fmt.Sprintf(format, args...)))
}

// block checks statements in a scope of their own, which begins with some variables.
func (l *linter) block(statements []ast.Stmt, names []string, line int) {
	l.scopes = append(l.scopes, &scope{})
	for _, name := range names {
		l.define(name, line)
	}
	for _, statement := range statements {
		l.statement(statement)
	}
	last := len(l.scopes) - 1
	for _, v := range l.scopes[last].variables {
		if last == 0 {
			l.topLevel[v.name] = v.used
		} else if !v.used && v.name != "_" {
			l.report(v.line, "%s is not used", v.name)
		}
	}
	l.scopes = l.scopes[:last]
}

func (l *linter) define(name string, line int) {
	current := l.scopes[len(l.scopes)-1]
	if name != "_" && slices.ContainsFunc(current.variables, func(v *variable) bool { return v.name == name }) {
		l.report(line, "%s is defined twice", name)
	}
	current.variables = append(current.variables, &variable{name: name, line: line})
}

// lookup returns the innermost variable of a name, or nil.
func (l *linter) lookup(name string) *variable {
	for _, s := range slices.Backward(l.scopes) {
		for _, v := range slices.Backward(s.variables) {
			if v.name == name {
				return v
			}
		}
	}
	return nil
}

func (l *linter) statement(statement ast.Stmt) {
	switch s := statement.(type) {
	case *ast.LocalAssignStmt:
		l.local(s)
	case *ast.AssignStmt:
		l.expressions(s.Rhs)
		for _, target := range s.Lhs {
			l.assign(target)
		}
	case *ast.FuncCallStmt:
		l.expression(s.Expr)
	case *ast.DoBlockStmt:
		l.block(s.Stmts, nil, 0)
	case *ast.WhileStmt:
		l.expression(s.Condition)
		l.block(s.Stmts, nil, 0)
	case *ast.IfStmt:
		l.expression(s.Condition)
		l.block(s.Then, nil, 0)
		l.block(s.Else, nil, 0)
	case *ast.NumberForStmt:
		l.expressions([]ast.Expr{s.Init, s.Limit, s.Step})
		l.block(s.Stmts, []string{s.Name}, s.Line())
	case *ast.GenericForStmt:
		l.expressions(s.Exprs)
		l.block(s.Stmts, s.Names, s.Line())
	case *ast.ReturnStmt:
		l.expressions(s.Exprs)
	case *ast.FuncDefStmt:
		l.assign(s.Name.Func)
		l.expression(s.Func)
	case *ast.BreakStmt:
	default:
		l.report(statement.Line(), "the linter does not know a %T", statement)
	}
}

// local defines variables after their values, and a function before its body, which may
// call it.
func (l *linter) local(s *ast.LocalAssignStmt) {
	if len(s.Exprs) == 1 {
		if _, ok := s.Exprs[0].(*ast.FunctionExpr); ok {
			l.define(s.Names[0], s.Line())
			l.expressions(s.Exprs)
			return
		}
	}
	l.expressions(s.Exprs)
	for _, name := range s.Names {
		l.define(name, s.Line())
	}
}

func (l *linter) assign(target ast.Expr) {
	if name, ok := target.(*ast.IdentExpr); !ok {
		l.expression(target)
	} else if l.lookup(name.Value) == nil {
		l.report(name.Line(), "%s is a global variable", name.Value)
	}
}

func (l *linter) expressions(all []ast.Expr) {
	for _, e := range all {
		l.expression(e)
	}
}

func (l *linter) expression(expression ast.Expr) {
	switch e := expression.(type) {
	case nil, *ast.TrueExpr, *ast.FalseExpr, *ast.NilExpr, *ast.NumberExpr, *ast.StringExpr, *ast.Comma3Expr:
	case *ast.IdentExpr:
		l.use(e)
	case *ast.AttrGetExpr:
		l.expressions([]ast.Expr{e.Object, e.Key})
	case *ast.TableExpr:
		for _, field := range e.Fields {
			l.expressions([]ast.Expr{field.Key, field.Value})
		}
	case *ast.FuncCallExpr:
		l.expressions(append([]ast.Expr{e.Func, e.Receiver}, e.Args...))
	case *ast.LogicalOpExpr:
		l.expressions([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.RelationalOpExpr:
		l.expressions([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.StringConcatOpExpr:
		l.expressions([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.ArithmeticOpExpr:
		l.expressions([]ast.Expr{e.Lhs, e.Rhs})
	case *ast.UnaryMinusOpExpr:
		l.expression(e.Expr)
	case *ast.UnaryNotOpExpr:
		l.expression(e.Expr)
	case *ast.UnaryLenOpExpr:
		l.expression(e.Expr)
	case *ast.FunctionExpr:
		l.block(e.Stmts, e.ParList.Names, e.Line())
	default:
		l.report(expression.Line(), "the linter does not know a %T", expression)
	}
}

// use marks a variable as used.
func (l *linter) use(name *ast.IdentExpr) {
	if v := l.lookup(name.Value); v != nil {
		v.used = true
	} else if !slices.Contains(luaGlobals, name.Value) {
		l.report(name.Line(), "%s is not defined", name.Value)
	}
}
