package e2e

import "strings"

// lockOf returns a component of type lock.redis whose locks are in the database db, with
// texts replaced: old and new in turn. Lines appended to it are metadata entries or,
// without indentation, fields of the component.
func lockOf(name, db string, edits ...string) string {
	return strings.NewReplacer(edits...).Replace(`apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: ` + name + `
spec:
  type: lock.redis
  version: v1
  metadata:
  - name: redisHost
    value: $REDIS
  - name: redisDB
    value: "` + db + `"
`)
}

// file returns a folder with one file.
func file(text string) map[string]string { return map[string]string{"locks.yaml": text} }

// beside returns a folder with the text in a file, and a valid component in another.
func beside(text string) map[string]string {
	return map[string]string{"1.yaml": text, "2.yaml": lockOf("good", "2")}
}

// spec returns edits of lockOf that add a line to the spec.
func spec(line string) (old, new string) { return "  version: v1\n", "  version: v1\n  " + line + "\n" }

// meta returns edits of lockOf that add a line to the metadata.
func meta(line string) (old, new string) { return "\nspec:", "\n  " + line + "\nspec:" }

// edited returns a component with one of the edits above.
func edited(old, new string) string { return lockOf("locks", "1", old, new) }

const (
	configurations = `apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: appconfig
spec:
  tracing:
    samplingRate: "1"
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: myresiliency
scopes: [shop]
spec:
  policies:
    retries:
      important: {policy: constant, duration: 5s, maxRetries: 30}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata:
  name: github
spec:
  baseUrl: http://127.0.0.1
---
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata:
  name: orders
spec:
  pubsubname: pubsub
  topic: orders
  metadata: {rawPayload: true}
  routes: {default: /orders}
scopes: [bank]
`
	kubernetes = `apiVersion: v1
kind: Secret
metadata: {name: redis}
stringData: {redis-password: ""}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: shop
  labels: {app: shop}
spec:
  template:
    metadata:
      annotations: {dapr.io/enabled: "true", dapr.io/app-id: shop}
    spec: {containers: [{name: shop, image: shop}]}
---
`
	needsSecret       = "only daprd can read secrets, so the component waits for its Init"
	otherTypes        = "Mortise ignores components of other types"
	undefinedVariable = "the variable may be set for daprd only, so the component waits for daprd's Init"
	placeholder       = "daprd replaces the placeholder, so the component waits for its Init"
)

// indented returns the text with every line but the first indented by four.
func indented(text string) string {
	return strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n    ")
}

var loadCases = []loadCase{
	// Documents.
	{name: "Dapr's own sample", files: file(lockOf("lockstore", "0", "  version: v1\n", "", "value: \"0\"", "value: \"\"", "redisDB", "redisPassword")),
		want: "lockstore@0"},
	{name: "several in a file", files: file(lockOf("a", "1") + "---\n" + lockOf("b", "2") + "---\n\n---\n" + lockOf("c", "3")),
		want: "a@1, b@2, c@3"},
	{name: "separators around, one with a comment", files: file("---\n" + lockOf("a", "1") + "--- # the next\n" + lockOf("b", "2") + "---"),
		want: "a@1, b@2"},
	{name: "a separator that ends the file with a space", files: file(lockOf("a", "1") + "---\n" + lockOf("b", "2") + "--- "), want: "a@1"},
	{name: "a line of many dashes", files: file(lockOf("a", "1") + "--------\n" + lockOf("b", "2")), want: "a@1, b@2"},
	{name: "the end of a document", files: file(lockOf("a", "1") + "...\n---\n" + lockOf("b", "2") + "...\n"), want: "a@1, b@2"},
	{name: "a directive", files: file("%YAML 1.1\n---\n" + lockOf("a", "1")), want: "a@1"},
	{name: "lines that end as on Windows", files: file(strings.ReplaceAll(lockOf("a", "1")+"---\n"+lockOf("b", "2"), "\n", "\r\n")),
		want: "a@1, b@2"},
	{name: "a byte order mark", files: file("\ufeff" + lockOf("locks", "1")), want: "locks@1"},
	{name: "comments and empty files", files: map[string]string{
		"1.yaml": "", "2.yaml": "\n\n", "3.yaml": "# nothing\n", "4.yaml": "---\n---\n", "5.yaml": "null\n", "6.yaml": lockOf("locks", "1"),
	}, want: "locks@1"},
	{name: "JSON", files: file(`{"apiVersion": "dapr.io/v1alpha1", "kind": "Component", "metadata": {"name": "locks"}, "spec": {"type": "lock.redis",
		"version": "v1", "metadata": [{"name": "redisHost", "value": "$REDIS"}, {"name": "redisDB", "value": 1}]}}`), want: "locks@1"},
	{name: "another order, another indentation, comments behind values", files: file(`# lock store of the shop
spec:
    metadata: # where it is
        - value: $REDIS # the server
          name: redisHost
        - {value: '1', name: redisDB}
    type: lock.redis
scopes: ["shop"]
kind: "Component"
metadata: {name: locks, labels: {app: shop, tier: 1}, annotations: {note: "yes"}}
apiVersion: dapr.io/v1alpha1
`), want: "locks@1"},
	{name: "what kubectl prints", files: file(edited(meta(`creationTimestamp: "2024-05-01T10:00:00Z"
  generation: 1
  managedFields: [{manager: kubectl, operation: Update, fieldsV1: {"f:spec": {}}}]
  resourceVersion: "1234"
  uid: 6d0a4d5e-0000-4000-8000-000000000000`))), want: "locks@1"},
	{name: "what kubectl create --dry-run prints", files: file(edited(meta("creationTimestamp: null"))), want: "locks@1"},

	// Files.
	{name: "names of files", files: map[string]string{
		"a.yml": lockOf("a", "1"), "b.YAML": lockOf("b", "2"), ".c.yaml": lockOf("c", "3"), "d.json": lockOf("d", "1"), "e": lockOf("e", "1"),
		"f.yaml.bak": lockOf("f", "1"), "g.yaml~": lockOf("g", "1"), "below/h.yaml": lockOf("h", "1"), "README.md": "# components\n",
	}, want: "a@1, b@2, c@3"},
	{name: "a mounted ConfigMap", files: map[string]string{"..2024/locks.yaml": lockOf("locks", "1")},
		links: map[string]string{"..data": "..2024", "locks.yaml": "..data/locks.yaml", "missing.yaml": "..data/missing.yaml"}, want: "locks@1"},
	{name: "nothing", want: ""},

	// Kinds.
	{name: "Dapr's other kinds", files: beside(configurations), want: "good@2"},
	{name: "Kubernetes's kinds in the same file", files: file(kubernetes + lockOf("locks", "1")), want: "locks@1"},
	{name: "a list", files: beside("apiVersion: v1\nkind: List\nitems:\n  - " + indented(lockOf("locks", "1"))), want: "good@2"},
	{name: "a list of components", files: beside("apiVersion: dapr.io/v1alpha1\nkind: ComponentList\nitems:\n  - " + indented(lockOf("locks", "1"))),
		want: "good@2"},
	{name: "a kustomization", files: beside("resources: [2.yaml]\nnamespace: shop\n"), want: "good@2"},
	{name: "a schema of Azure Container Apps", files: beside("componentType: lock.redis\nversion: v1\nmetadata:\n- name: redisHost\n  value: $REDIS\n"),
		want: "good@2"},
	{name: "a kind in lower case", files: beside(lockOf("locks", "1", "kind: Component", "kind: component")), want: "good@2"},
	{name: "no kind", files: beside(lockOf("locks", "1", "kind: Component\n", "")), want: "good@2"},
	{name: "another version of the API", files: beside(lockOf("locks", "1", "v1alpha1", "v1")), want: "good@2"},
	{name: "no version of the API", files: beside(lockOf("locks", "1", "apiVersion: dapr.io/v1alpha1\n", "")), want: "good@2"},

	// Broken documents.
	{name: "bad indentation", files: beside(lockOf("locks", "1", "  type:", "    type:")), want: "good@2"},
	{name: "a tab", files: beside(lockOf("locks", "1", "  type:", "\ttype:")), want: "good@2"},
	{name: "a broken document before a good one", files: file("a: [\n---\n" + lockOf("good", "2")), want: "good@2"},
	{name: "a loop of a Helm template", files: beside("{{- range .Values.x }}\n" + lockOf("locks", "1") + "---\n{{- end }}\n"), want: "good@2"},
	{name: "a condition around a Helm template", files: beside("{{- if .Values.dapr.enabled }}\n" + lockOf("locks", "1") + "{{- end }}\n"), want: "good@2"},
	{name: "a value of a Helm template", files: beside(lockOf("{{ .Values.name }}", "1")), want: "good@2"},
	{name: "a quoted value of a Helm template", files: file(edited(meta(`namespace: "{{ .Release.Namespace }}"`))), want: "locks@1"},
	{name: "scopes as text", files: beside(lockOf("locks", "1") + "scopes: shop\n"), want: "good@2"},
	{name: "scopes as numbers", files: beside(lockOf("locks", "1") + "scopes: [1, shop]\n"), want: "good@2"},
	{name: "metadata as a map", files: beside(lockOf("locks", "1", "  - name: redisHost\n    value: $REDIS\n  - name: redisDB\n    value: \"1\"", "    redisHost: $REDIS")),
		want: "good@2"},
	{name: "a boolean as text", files: beside(edited(spec(`ignoreErrors: "true"`))), want: "good@2"},
	{name: "a number as initTimeout", files: file(edited(spec("initTimeout: 5"))), want: "locks@1"},
	{name: "labels as a list", files: beside(edited(meta("labels: [shop]"))), want: "good@2"},
	{name: "an HTML page", files: beside("<!DOCTYPE html>\n<html><body>404: Not Found</body></html>\n"), want: "good@2"},
	{name: "text", files: beside("404: Not Found"), want: "good@2"},
	{name: "a sequence", files: beside("- " + indented(lockOf("locks", "1"))), want: "good@2"},
	{name: "a merge conflict", files: beside("<<<<<<< HEAD\n" + lockOf("locks", "1") + "=======\n" + lockOf("locks", "2") + ">>>>>>> main\n"), want: "good@2"},

	// YAML.
	{name: "field names in other cases", files: file(lockOf("locks", "1", "kind:", "Kind:", "spec:", "SPEC:", "  type:", "  Type:", "- name:", "- Name:")),
		want: "locks@1"},
	{name: "an anchor and a merge", files: file("x-host: &host\n  name: redisHost\n  value: $REDIS\n" +
		lockOf("locks", "1", "- name: redisHost\n    value: $REDIS", "- <<: *host")), want: "locks@1"},
	{name: "a key that is repeated", files: file(lockOf("locks", "1", "  name: locks\n", "  name: other\n  name: locks\n")), want: "locks@1"},
	{name: "a metadata entry that is repeated", files: file(lockOf("locks", "1") + "  - {name: redisDB, value: 2}\n"), want: "locks@2"},
	{name: "numbers and booleans", files: file(lockOf("locks", "1", `value: "1"`, "value: 0x2") +
		"  - {name: enableTLS, value: no}\n  - {name: redisMaxRetries, value: 1_0}\n"), want: "locks@2"},
	{name: "no value", files: file(lockOf("locks", "1") + "  - name: redisPassword\n  - {name: redisUsername, value: }\n  - {name: redisType, value: ~}\n"),
		want: "locks@1"},
	{name: "a value over several lines", files: file(lockOf("locks", "1") + "  - name: keyPrefix\n    value: >-\n      none\n"), want: "locks@1 lock||R"},
	{name: "a list as a value", files: file(lockOf("locks", "1") + "  - {name: keyPrefix, value: [A, 1]}\n"), want: `locks@1 lock||["a",1]||R`},
	{name: "a map as a value", files: file(lockOf("locks", "1") + "  - {name: keyPrefix, value: {a: {b: true}}}\n"), want: `locks@1 lock||{"a":{"b":true}}||R`},
	{name: "quotes in a value", files: file(lockOf("locks", "1") + "  - {name: keyPrefix, value: '\"a\"'}\n"), want: `locks@1 lock||"a"||R`},

	// Values from variables and secrets.
	{name: "a variable", files: file(lockOf("locks", "1", "value: $REDIS", "envRef: PLACE")), want: "locks@1"},
	{name: "a variable in quotes", files: file(lockOf("locks", "1", `value: "1"`, "envRef: DB")), env: []string{`DB="2"`}, want: "locks@2"},
	{name: "a variable that is empty", files: file(lockOf("locks", "1") + "  - {name: keyPrefix, envRef: PREFIX}\n"), env: []string{"PREFIX="},
		want: "locks@1 lock||||R"},
	{name: "a variable that is not set", files: file(lockOf("locks", "1") + "  - {name: redisPassword, envRef: LOCK_PASSWORD}\n"),
		want: "locks@1", mortise: "locks?", reason: undefinedVariable},
	{name: "a value and a variable", files: file(lockOf("locks", "1", `value: "1"`, "value: 1\n    envRef: DB")), env: []string{"DB=2"}, want: "locks@1"},
	{name: "an empty value and a variable", files: file(lockOf("locks", "1") + "  - {name: keyPrefix, value: '', envRef: DB}\n"), env: []string{"DB=2"},
		want: "locks@1 lock||||R"},
	{name: "null and a variable", files: file(lockOf("locks", "1", `value: "1"`, "value: null\n    envRef: DB")), env: []string{"DB=2"}, want: "locks@2"},
	{name: "a variable and a secret", files: file(lockOf("locks", "1", `value: "1"`, "envRef: DB\n    secretKeyRef: {name: a, key: b}")),
		env: []string{"DB=2"}, want: "locks@2"},
	{name: "a variable of Dapr's", files: file(lockOf("locks", "1") + "  - {name: redisPassword, envRef: DAPR_PASSWORD}\n"),
		env: []string{"DAPR_PASSWORD=x"}, want: "locks@1"},
	{name: "the host in a variable of Dapr's", files: file(lockOf("locks", "1", "value: $REDIS", "envRef: dapr_host")), env: []string{"dapr_host=x"},
		want: "ends"},
	{name: "the token of the app", files: file(lockOf("locks", "1") + "  - {name: redisPassword, envRef: APP_API_TOKEN}\n"),
		env: []string{"APP_API_TOKEN=x"}, want: "locks@1"},
	{name: "a variable that is not in the list of those allowed", files: file(lockOf("locks", "1") + "  - {name: redisPassword, envRef: PASSWORD}\n"),
		env: []string{"PASSWORD=x", "DAPR_ENV_KEYS=PLACE DB"}, want: "locks@1"},
	{name: "a variable that is in the list of those allowed", files: file(lockOf("locks", "1", `value: "1"`, "envRef: DB")),
		env: []string{"DB=2", "DAPR_ENV_KEYS=PLACE DB"}, want: "locks@2"},
	{name: "a secret", files: map[string]string{
		"secrets.json": `{"db": "3"}`,
		"vault.yaml": strings.Replace(lockOf("vault", "1", "lock.redis", "secretstores.local.file", "redisHost", "secretsFile", "$REDIS", "$FOLDER/secrets.json"),
			"redisDB", "nestedSeparator", 1),
		"locks.yaml": lockOf("locks", "1", `value: "1"`, "secretKeyRef: {name: db, key: db}") + "auth: {secretStore: vault}\n",
		"value.yaml": lockOf("value", "1", `value: "1"`, "value: 2\n    secretKeyRef: {name: db}") + "auth: {secretStore: vault}\n",
	}, want: "locks@3, value@3", mortise: "locks?, value?", reason: needsSecret},
	{name: "a secret in no secret store", files: beside(lockOf("locks", "1", `value: "1"`, "secretKeyRef: {name: a, key: b}") + "auth: {secretStore: vault}\n"),
		want: "good@2", mortise: "good@2, locks?", reason: needsSecret},
	{name: "a secret without a name", files: file(lockOf("locks", "1") + "  - {name: redisPassword, secretKeyRef: {key: a}}\nauth: {secretStore: vault}\n"),
		want: "locks@1"},
	{name: "a secret store that is not used", files: file(lockOf("locks", "1") + "auth:\n  secretStore: kubernetes\n"), want: "locks@1"},
	{name: "the app's id in the key prefix", files: file(lockOf("locks", "1") + "  - {name: keyPrefix, value: 'a-{appID}'}\n"), want: "locks@1 lock||a-shop||R"},
	{name: "the app's id in another value", files: file(lockOf("locks", "1") + "  - {name: redisUsername, value: ''}\n  - {name: sentinelUsername, value: '{appID}'}\n"),
		want: "locks@1", mortise: "locks?", reason: placeholder},

	// Namespaces, scopes and names.
	{name: "two namespaces, one of them the app's", env: []string{"NAMESPACE=staging"}, files: map[string]string{
		"1.yaml": edited(meta("namespace: production")), "2.yaml": lockOf("locks", "2", "\nspec:", "\n  namespace: staging\nspec:"),
	}, want: "locks@2"},
	{name: "another namespace", env: []string{"NAMESPACE=staging"}, files: beside(edited(meta("namespace: production"))), want: "good@2"},
	{name: "a namespace, and none of the app", files: file(edited(meta("namespace: production"))), want: "locks@1"},
	{name: "a namespace, and an empty one of the app", env: []string{"NAMESPACE="}, files: file(edited(meta("namespace: production"))), want: "locks@1"},
	{name: "two namespaces, and none of the app", files: map[string]string{
		"1.yaml": edited(meta("namespace: production")), "2.yaml": lockOf("locks", "2", "\nspec:", "\n  namespace: staging\nspec:"),
	}, want: "ends"},
	{name: "scopes", files: map[string]string{
		"1.yaml": lockOf("a", "1") + "scopes:\n- bank\n- shop\n", "2.yaml": lockOf("b", "2") + "scopes: [bank]\n", "3.yaml": lockOf("c", "3") + "scopes: []\n",
		"4.yaml": lockOf("d", "1") + "scopes:\n", "5.yaml": lockOf("e", "1") + "scopes: [Shop]\n",
	}, want: "a@1, c@3, d@1"},
	{name: "one name in two files", files: map[string]string{"1.yaml": lockOf("locks", "1"), "2.yaml": lockOf("locks", "1")}, want: "ends"},
	{name: "one name in two types", files: file(lockOf("locks", "1") + "---\n" + lockOf("locks", "1", "lock.redis", "state.in-memory")), want: "ends"},
	{name: "one name for another app, then for this", files: file(lockOf("locks", "1") + "scopes: [bank]\n---\n" + lockOf("locks", "2") + "scopes: [shop]\n"),
		want: "locks@2"},
	{name: "one name for this app, then for another", files: file(lockOf("locks", "1") + "scopes: [shop]\n---\n" + lockOf("locks", "2") + "scopes: [bank]\n"),
		want: "ends"},
	{name: "names", files: map[string]string{
		"1.yaml": lockOf("7", "1"), "2.yaml": lockOf("a/b", "1"), "3.yaml": lockOf("..", "1"), "4.yaml": lockOf(`"50%"`, "1"), "5.yaml": lockOf("true", "1"),
		"6.yaml": lockOf("", "1"), "7.yaml": lockOf("Lock_Store.1", "3"), "8.yaml": lockOf("锁", "2"),
	}, want: "7@1, Lock_Store.1@3, true@1, 锁@2"},
	{name: "no name, twice", files: map[string]string{"1.yaml": lockOf("", "1"), "2.yaml": lockOf("", "1")}, want: "ends"},

	// Types and versions.
	{name: "a type in another case", files: file(lockOf("locks", "1", "lock.redis", "lock.Redis")), want: "locks@1"},
	{name: "a category in another case", files: file(lockOf("locks", "1", "lock.redis", "Lock.redis")), want: "ends"},
	{name: "a category in another case, with ignoreErrors", files: beside(lockOf("locks", "1", "lock.redis", "Lock.redis\n  ignoreErrors: true")), want: "good@2"},
	{name: "versions", files: map[string]string{
		"1.yaml": lockOf("a", "1", "version: v1", "version: V1"), "2.yaml": lockOf("b", "1", "version: v1", "version: v0"),
		"3.yaml": lockOf("c", "1", "version: v1", `version: ""`), "4.yaml": lockOf("d", "1", "  version: v1\n", ""),
	}, want: "a@1, b@1, c@1, d@1"},
	{name: "another version", files: file(lockOf("locks", "1", "version: v1", "version: v2")), want: "ends"},
	{name: "other types", files: beside(lockOf("states", "1", "lock.redis", "state.in-memory") + "---\n" +
		lockOf("env", "1", "lock.redis", "secretstores.local.env")), want: "good@2"},
	{name: "a type that does not exist", files: beside(lockOf("x", "1", "lock.redis", "lock.paper")), want: "ends", mortise: "good@2", reason: otherTypes},
	{name: "no spec", files: beside("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: x}\n"), want: "ends", mortise: "good@2", reason: otherTypes},

	// Components that cannot be opened.
	{name: "a Redis that is down", files: file(lockOf("locks", "1", "$REDIS", "$DOWN", "  version: v1\n", "  version: v1\n  initTimeout: 1s\n")), want: "ends"},
	{name: "a Redis that is down, with ignoreErrors", files: beside(lockOf("locks", "1", "$REDIS", "$DOWN",
		"  version: v1\n", "  version: v1\n  initTimeout: 1s\n  ignoreErrors: true\n")), want: "good@2"},
	{name: "a Redis that is down, for another app", files: beside(lockOf("locks", "1", "$REDIS", "$DOWN",
		"  version: v1\n", "  version: v1\n  initTimeout: 1s\n") + "scopes: [bank]\n"), want: "good@2"},
	{name: "a bad value", files: file(lockOf("locks", "one")), want: "ends"},
	{name: "a bad value, with ignoreErrors", files: beside(lockOf("locks", "one", "  version: v1\n", "  version: v1\n  ignoreErrors: true\n")), want: "good@2"},
	{name: "a cluster", files: file(lockOf("locks", "1") + "  - {name: redisType, value: cluster}\n"), want: "ends"},
	{name: "no host", files: file(lockOf("locks", "1", "value: $REDIS", "value: ''")), want: "ends"},
	{name: "a separator in the key prefix", files: file(lockOf("locks", "1") + "  - {name: KEYPREFIX, value: 'a||b'}\n"), want: "ends"},
	{name: "an unknown pod name", files: file(lockOf("locks", "1") + "  - {name: keyPrefix, value: '{podName}'}\n"), want: "ends"},
	{name: "a zero initTimeout", files: file(edited(spec("initTimeout: 0s"))), want: "ends"},
	{name: "an invalid initTimeout", files: file(edited(spec("initTimeout: soon"))), want: "locks@1"},
	{name: "the key prefixes", files: map[string]string{
		"1.yaml": lockOf("a", "1") + "  - {name: keyPrefix, value: name}\n", "2.yaml": lockOf("b", "1") + "  - {name: keyPrefix, value: None}\n",
		"3.yaml": lockOf("c", "1") + "  - {name: keyprefix, value: appid}\n", "4.yaml": lockOf("d", "1") + "  - {name: keyPrefix, value: Shared}\n",
	}, want: "a@1 lock||a||R, b@1 lock||R, c@1, d@1 lock||shared||R"},
	{name: "a key that lock.redis ignores", files: file(lockOf("locks", "1") + "  - {name: owner, value: shop}\n"),
		want: "locks@1", mortise: "ends", reason: "Mortise rejects unknown keys, because a typing error could lose locks"},
}

// loaderCases are for the loaders only: types and values that no lock component has.
var loaderCases = []loadCase{
	{name: "values", files: file(lockOf("locks", "1") + `  - {name: octal, value: 017}
  - {name: binary, value: 0b11}
  - {name: float, value: 1.50}
  - {name: exponent, value: 1e21}
  - {name: large, value: 12345678901234567890}
  - {name: negative, value: -1}
  - {name: infinite, value: .5}
  - {name: time, value: 2020-01-01T00:00:00Z}
  - {name: sexagesimal, value: 1:30}
  - {name: yes, value: [y, on, off, "yes"]}
  - {name: controls, value: "\u0001\b\f\x7f\t\\\""}
  - {name: html, value: "<&>\u2028"}
  - {name: single, value: "'a'"}
  - {name: backquoted, value: "` + "`a`" + `"}
  - {name: tagged, value: !!str 1}
  - {name: 1, value: 1, envRef: 2}
  - {name: maps, value: {1: a, true: b, 1.5: c}}
  - name: lines
    value: |
      -----BEGIN CERTIFICATE-----
      a
      -----END CERTIFICATE-----
`)},
	{name: "values that cannot be in JSON", files: beside(lockOf("locks", "1") + "  - {name: infinite, value: .inf}\n")},
	{name: "a certificate without indentation", files: beside(lockOf("locks", "1") + "  - name: cert\n    value: |\n-----BEGIN CERTIFICATE-----\na\n-----END CERTIFICATE-----\n")},
	{name: "binary data", files: beside(lockOf("locks", "1") + "  - {name: b, value: !!binary aGVsbG8=}\n")},
	{name: "types that are not text", files: beside(lockOf("locks", "1", "type: lock.redis", "type: 5", "version: v1", "version: 1"))},
	{name: "a secret reference as text", files: beside(lockOf("locks", "1", "value: $REDIS", "secretKeyRef: a"))},
	{name: "a secret reference with numbers", files: file(lockOf("locks", "1", "value: $REDIS", "secretKeyRef: {name: 1, key: 2}"))},
	{name: "a kind as a number", files: beside("kind: 5\n---\n" + lockOf("locks", "1", "dapr.io/v1alpha1", "1"))},
	{name: "a bad time", files: beside(edited(meta("creationTimestamp: yesterday")))},
	{name: "an empty time", files: beside(edited(meta(`deletionTimestamp: ""`)))},
	{name: "a generation as text", files: beside(edited(meta(`generation: "1"`)))},
	{name: "an owner", files: file(edited(meta("ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}]")))},
	{name: "an owner as text", files: beside(edited(meta("ownerReferences: [p]")))},
	{name: "finalizers as text", files: beside(edited(meta("finalizers: p")))},
	{name: "annotations that are null", files: file(edited(meta("annotations:")))},
	{name: "annotations with maps", files: beside(edited(meta("annotations: {a: {b: c}}")))},
	{name: "metadata that is null", files: beside("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata:\nspec:\n")},
	{name: "metadata as text", files: beside("apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: x\n")},
	{name: "both cases of a field", files: file(lockOf("locks", "1", "kind: Component", "Kind: Configuration\nkind: Component"))},
	{name: "UTF-16", files: beside("\xff\xfe" + strings.Join(strings.Split(lockOf("locks", "1"), ""), "\x00") + "\x00")},
	{name: "bytes that are not text", files: beside(lockOf("locks", "1") + "  - {name: b, value: \"\xff\"}\n")},
	{name: "an alias that contains itself", files: beside("a: &a [*a]\n")},
	{name: "a bomb of aliases", files: beside("a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n" +
		"d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\ng: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n")},
	{name: "a separator in the first line of a value", files: file(lockOf("locks", "1") + "  - name: a\n    value: |\n      b\n---- not a value\n" + lockOf("c", "1"))},
	{name: "a file that ends in dashes", files: file(lockOf("a", "1") + "---\n" + lockOf("b", "1") + "----")},
	{name: "a separator behind the only document, with a comment", files: file(lockOf("a", "1") + "--- # end")},
	{name: "old line ends", files: beside(strings.ReplaceAll(lockOf("locks", "1"), "\n", "\r"))},
	{name: "a large file", files: file(strings.Repeat("# "+strings.Repeat("x", 1000)+"\n---\n", 200) + lockOf("locks", "1"))},
}
