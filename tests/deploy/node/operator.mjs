// Validates objects of the Prometheus operator, a JSON list on stdin, by the schemas of its custom resources.
import * as v1 from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index";
import { text } from "node:stream/consumers";

for (const object of JSON.parse(await text(process.stdin))) {
  const Kind = v1[object.kind];
  if (object.apiVersion !== "monitoring.coreos.com/v1" || !Kind) throw new Error(`${object.apiVersion} ${object.kind} is not known`);
  new Kind(object).validate();
}
