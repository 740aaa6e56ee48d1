package deploy

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	server "github.com/mortise-lock/mortise/component"
)

const (
	// injectorVolume is the volume that Dapr's injector adds for
	// dapr.io/pluggable-components.
	injectorVolume = "dapr-components-unix-domain-socket"

	// nonrootID is the user and group id of our images and of daprd's.
	nonrootID = 65532
)

// deployment has only those fields of a Kubernetes Deployment that our files use, so that
// a misspelt field is an error.
type deployment struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct{ Name string }
	Spec       struct {
		Replicas int
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels, Annotations map[string]string }
			Spec     pod
		}
	}
}

type pod struct {
	SecurityContext struct {
		RunAsNonRoot   bool                  `yaml:"runAsNonRoot"`
		FSGroup        int                   `yaml:"fsGroup"`
		SeccompProfile struct{ Type string } `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	InitContainers []container `yaml:"initContainers"`
	Containers     []container
	Volumes        []struct {
		Name     string
		EmptyDir *struct{} `yaml:"emptyDir"`
	}
}

type container struct {
	Name          string
	Image         string
	RestartPolicy string `yaml:"restartPolicy"`
	Args          []string
	Env           []struct{ Name, Value string }
	Ports         []struct {
		ContainerPort int `yaml:"containerPort"`
	}
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
	} `yaml:"volumeMounts"`
	Lifecycle struct {
		PostStart struct{ Sleep struct{ Seconds int } } `yaml:"postStart"`
		PreStop   struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
	}
	Resources       struct{ Requests, Limits map[string]string }
	SecurityContext struct {
		RunAsUser                int   `yaml:"runAsUser"`
		RunAsGroup               int   `yaml:"runAsGroup"`
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
}

func TestKubernetes_Files(t *testing.T) {
	want := map[string][]string{
		"component.yaml":      {"Component lockstore"},
		"deployment.yaml":     {"Deployment orders"},
		"native-sidecar.yaml": {"Deployment orders"},
	}
	got := map[string][]string{}
	for file, list := range kubernetes(t) {
		for _, document := range list {
			head := decode[component](t, document)
			got[file] = append(got[file], head.Kind+" "+head.Metadata.Name)
		}
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("the files hold %v, want %v", got, want)
	}
}

func TestKubernetes_Component(t *testing.T) {
	c := decodeStrictly[component](t, kubernetes(t)["component.yaml"][0])
	checkComponent(t, c)
	for file, d := range deployments(t) {
		if app := d.Spec.Template.Metadata.Annotations["dapr.io/app-id"]; !slices.Contains(c.Scopes, app) {
			t.Errorf("%s: app %q is not among the component's scopes %q", file, app, c.Scopes)
		}
	}
}

func TestKubernetes_Images(t *testing.T) {
	built := string(read(t, "../Dockerfile"))
	for file, d := range deployments(t) {
		template := d.Spec.Template
		if d.APIVersion != "apps/v1" || !maps.Equal(d.Spec.Selector.MatchLabels, template.Metadata.Labels) {
			t.Errorf("%s: is not an apps/v1 Deployment that selects its own pods", file)
		}
		if template.Metadata.Annotations["dapr.io/enabled"] != "true" {
			t.Errorf("%s: Dapr is not enabled", file)
		}
		images := []string{template.Metadata.Annotations["dapr.io/sidecar-image"], mortise(t, template.Spec).Image}
		for _, image := range images {
			if image == "" || !strings.Contains(built, "docker build --tag "+image+" ") {
				t.Errorf("%s: the Dockerfile does not describe how to build image %q", file, image)
			}
		}
	}
}

func TestKubernetes_SocketsFolder(t *testing.T) {
	for file, d := range deployments(t) {
		t.Run(file, func(t *testing.T) {
			annotations := d.Spec.Template.Metadata.Annotations
			if strings.Contains(annotations["dapr.io/env"], "SOCKETS_FOLDER") {
				t.Fatal("dapr.io/env moves daprd's sockets folder, which this test does not follow")
			}
			if names, ok := annotations["dapr.io/pluggable-components"]; ok {
				checkInjected(t, d.Spec.Template.Spec, strings.Split(names, ","), annotations)
			} else {
				checkMounted(t, d.Spec.Template.Spec, annotations["dapr.io/volume-mounts-rw"])
			}
		})
	}
}

// checkInjected checks a pod for which the injector mounts the sockets folder: it must
// find the containers that the annotation names, mount where daprd looks, and not
// conflict with other volumes.
func checkInjected(t *testing.T, p pod, names []string, annotations map[string]string) {
	t.Helper()
	for _, name := range names {
		if !slices.ContainsFunc(p.Containers, func(c container) bool { return c.Name == name }) {
			t.Errorf("dapr.io/pluggable-components names %q, which is not a container", name)
		}
	}
	if !slices.Contains(names, "mortise") || p.Containers[0].Name != "mortise" {
		t.Errorf("the first container is %q, want a mortise that dapr.io/pluggable-components names", p.Containers[0].Name)
	}
	if len(p.Volumes) == 0 {
		t.Error("no volume is declared, so one of the injector's volumes replaces the other")
	}
	for _, volume := range p.Volumes {
		if volume.Name == injectorVolume {
			t.Errorf("volume %q is declared, and the injector adds another of that name", volume.Name)
		}
	}
	if c := mortise(t, p); socketsFolder(c) != server.DefaultFolder || len(c.VolumeMounts) > 0 {
		t.Error("the container mounts or sets its sockets folder itself, which conflicts with the injector")
	}
	folder, moved := annotations["dapr.io/pluggable-components-sockets-folder"]
	if moved && folder != server.DefaultFolder {
		t.Errorf("the injector mounts the sockets at %s, but daprd looks in %s", folder, server.DefaultFolder)
	}
}

// checkMounted checks a pod that mounts the sockets folder itself: one volume, where
// Mortise writes and where daprd looks.
func checkMounted(t *testing.T, p pod, daprdMount string) {
	t.Helper()
	volume, path, ok := strings.Cut(daprdMount, ":")
	if !ok || path != server.DefaultFolder {
		t.Errorf("dapr.io/volume-mounts-rw is %q, but daprd looks in %s", daprdMount, server.DefaultFolder)
	}
	found := false
	for _, v := range p.Volumes {
		found = found || v.Name == volume && v.EmptyDir != nil
	}
	if !found {
		t.Errorf("there is no emptyDir volume %q", volume)
	}
	c := mortise(t, p)
	if len(c.VolumeMounts) != 1 || c.VolumeMounts[0].Name != volume || c.VolumeMounts[0].MountPath != socketsFolder(c) {
		t.Errorf("mortise mounts %v, want volume %q at its sockets folder %s", c.VolumeMounts, volume, socketsFolder(c))
	}
	if len(p.InitContainers) > 0 && p.InitContainers[0].RestartPolicy != "Always" {
		t.Error("the init container has no restartPolicy Always, so the pod waits for its end")
	}
}

func TestKubernetes_SecurityContext(t *testing.T) {
	for file, d := range deployments(t) {
		p := d.Spec.Template.Spec
		s := mortise(t, p).SecurityContext
		if !p.SecurityContext.RunAsNonRoot || s.RunAsUser != nonrootID || s.RunAsGroup != nonrootID {
			t.Errorf("%s: mortise does not run as %d", file, nonrootID)
		}
		if p.SecurityContext.FSGroup == 0 {
			t.Errorf("%s: without fsGroup a daprd that runs as another user cannot connect", file)
		}
		escalation := s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation
		if escalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s: mortise may escalate, write to its root, or keeps capabilities", file)
		}
	}
}

func TestKubernetes_ResourcesAndStartDelay(t *testing.T) {
	for file, d := range deployments(t) {
		c := mortise(t, d.Spec.Template.Spec)
		if c.Resources.Requests["cpu"] == "" || c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" {
			t.Errorf("%s: mortise's resources are %v", file, c.Resources)
		}
		if c.Lifecycle.PostStart.Sleep.Seconds == 0 {
			t.Errorf("%s: nothing lets the socket appear before daprd starts", file)
		}
	}
}

// socketsFolder returns the folder of the container's socket without the injector. A flag
// has precedence over the environment.
func socketsFolder(c container) string {
	for _, arg := range c.Args {
		if folder, ok := strings.CutPrefix(arg, "--sockets-folder="); ok {
			return folder
		}
	}
	for _, name := range server.FolderVariables {
		for _, env := range c.Env {
			if env.Name == name {
				return env.Value
			}
		}
	}
	return server.DefaultFolder
}

// mortise returns the pod's container named mortise.
func mortise(t *testing.T, p pod) container {
	t.Helper()
	for _, c := range slices.Concat(p.InitContainers, p.Containers) {
		if c.Name == "mortise" {
			return c
		}
	}
	t.Fatal("no container is named mortise")
	return container{}
}

// kubernetes returns the documents of each file of the example.
func kubernetes(t *testing.T) map[string][]yaml.Node {
	t.Helper()
	files, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	list := map[string][]yaml.Node{}
	for _, file := range files {
		list[filepath.Base(file)] = documents(t, file)
	}
	return list
}

// deployments returns the Deployment of each file that has one.
func deployments(t *testing.T) map[string]deployment {
	t.Helper()
	found := map[string]deployment{}
	for file, list := range kubernetes(t) {
		for _, document := range list {
			if decode[component](t, document).Kind == "Deployment" {
				found[file] = decodeStrictly[deployment](t, document)
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("no Deployment found")
	}
	return found
}
