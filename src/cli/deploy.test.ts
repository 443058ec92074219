/** What `deploy/` runs fits the program: flags, ports, files. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import * as apps from "kubernetes-models/apps/v1";
import * as core from "kubernetes-models/v1";
import { parseAllDocuments, parse } from "yaml";
import { program } from "./program.ts";

const repository = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, repository), "utf8");
const folder = "deploy/kubernetes/";

interface Container {
  readonly args: readonly string[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly volumeMounts: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
  }[];
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly serviceName: string;
    readonly selector: { readonly matchLabels: object };
    readonly ports: readonly { readonly targetPort: string }[];
    readonly volumeClaimTemplates?: readonly Pick<Manifest, "metadata">[];
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly containers: readonly Container[];
        readonly volumes: readonly { readonly name: string }[];
      };
    };
  };
}

const kustomization = parse(read(`${folder}kustomization.yaml`)) as { resources: string[] };
const manifests = kustomization.resources.flatMap((file) =>
  parseAllDocuments(read(folder + file)).map((document) => document.toJS() as Manifest),
);
const ofKind = (kind: string) => manifests.filter((each) => each.kind === kind);

/** By apiVersion and kind: what checks a manifest against Kubernetes' own schema. */
const schemas: Readonly<Record<string, new (data: never) => { validate(): void }>> = {
  "apps/v1 StatefulSet": apps.StatefulSet,
  "v1 PersistentVolumeClaim": core.PersistentVolumeClaim,
  "v1 Service": core.Service,
};

test("every manifest is listed, and is what Kubernetes' schemas say", () => {
  const files = readdirSync(new URL(folder, repository));
  assert.deepEqual(files.toSorted(), ["kustomization.yaml", ...kustomization.resources].toSorted());
  for (const manifest of manifests) {
    const Schema = schemas[`${manifest.apiVersion} ${manifest.kind}`];
    new Schema(manifest as never).validate();
  }
  const [{ spec, ...set }] = ofKind("StatefulSet");
  const Schema = schemas["apps/v1 StatefulSet"];
  const broken = { ...set, spec: { ...spec, replicas: "one" } };
  assert.throws(() => new Schema(broken as never).validate(), /replicas/);
});

test("sets, services, ports and volumes of the manifests name each other", () => {
  const services = new Set(ofKind("Service").map(({ metadata }) => metadata.name));
  const ports = new Set<string>();
  for (const { spec } of ofKind("StatefulSet")) {
    assert.ok(services.has(spec.serviceName));
    assert.deepEqual(spec.selector.matchLabels, spec.template.metadata.labels);
    const { containers, volumes } = spec.template.spec;
    const claims = spec.volumeClaimTemplates?.map(({ metadata }) => metadata) ?? [];
    const names = [...volumes, ...claims].map(({ name }) => name).toSorted();
    assert.deepEqual(containers[0].volumeMounts.map(({ name }) => name).toSorted(), names);
    for (const { name } of containers[0].ports ?? []) ports.add(name);
  }
  for (const { spec } of ofKind("Service")) {
    for (const { targetPort } of spec.ports ?? []) assert.ok(ports.has(targetPort), targetPort);
  }
});

/** Command lines of everything that starts the program, as words after `daysix`. */
function commandLines(): (readonly string[])[] {
  const containers = ofKind("StatefulSet").flatMap(({ spec }) => spec.template.spec.containers);
  const [image] = /^CMD (\[.*\])$/m.exec(read("deploy/Dockerfile"))?.slice(1) ?? [];
  const units = readdirSync(new URL("deploy/systemd/", repository)).map((file) => {
    const text = read(`deploy/systemd/${file}`).replaceAll("\\\n", " ");
    const [, command] = /^ExecStart=\/usr\/bin\/env daysix (.*)$/m.exec(text) ?? [];
    return command.split(/\s+/);
  });
  return [...containers.map(({ args }) => args), JSON.parse(image) as string[], ...units];
}

test("every flag that a container or unit gives is one that its command has", () => {
  const lines = commandLines();
  assert.equal(lines.length, 5);
  for (const [name, ...words] of lines) {
    const command = program.commands.find((each) => each.name === name);
    const known = command?.options.map(({ rawName }) => rawName.split(" ")[0]);
    for (const word of words.filter((each) => each.startsWith("--"))) {
      assert.ok(known?.includes(word.split("=")[0]), `${name} ${word}`);
    }
  }
});

test("everything that is started keeps its packed weights where it may write", () => {
  const image = read("deploy/Dockerfile");
  assert.match(image, /^ENV .*\bXDG_CACHE_HOME=\/var\/cache$/m);
  assert.match(image, /^VOLUME .*\/var\/cache\/daysix$/m);
  assert.match(image, /chown node:node .*\/var\/cache\/daysix$/m);
  for (const file of readdirSync(new URL("deploy/systemd/", repository))) {
    const text = read(`deploy/systemd/${file}`);
    assert.match(text, /^CacheDirectory=daysix$/m, file);
    assert.match(text, /^Environment=.*\bXDG_CACHE_HOME=\/var\/cache$/m, file);
  }
  for (const { spec } of ofKind("StatefulSet")) {
    const [{ args, volumeMounts }] = spec.template.spec.containers;
    const [, packed] = args.map((arg) => /^--packed-dir=(.*)$/.exec(arg)).find(Boolean) ?? [];
    const mount = volumeMounts.find(({ mountPath }) => packed?.startsWith(`${mountPath}/`));
    assert.ok(mount && !mount.readOnly, `${spec.serviceName}: ${packed}`);
    const claims = spec.volumeClaimTemplates?.map(({ metadata }) => metadata.name);
    assert.ok(claims?.includes(mount.name), `${mount.name} outlives its pod`);
  }
});

test("npm start becomes the server, so that what ends npm ends it", () => {
  const { scripts } = JSON.parse(read("package.json")) as { scripts: Record<string, string> };
  assert.match(scripts["start"], /^exec node dist\/cli\/main\.js serve /);
});
