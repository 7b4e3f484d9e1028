import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { httpBindings } from "./http-rule.js";
import { compileBinding, type RequestBinding } from "./request-binding.js";
import { RouteTable } from "./route-table.js";

/** One HTTP method and path that calls an RPC. */
export interface Route {
  readonly method: DescMethod;
  /** Upper-case HTTP method; "*" for any. */
  readonly httpMethod: string;
  readonly binding: RequestBinding;
}

/** The routes of all RPCs that have a google.api.http option. Throws on rules that are wrong. */
export function routesOf(services: readonly DescService[]): Route[] {
  return services.flatMap((service) =>
    service.methods.flatMap((method) =>
      httpBindings(method).map((rule): Route => ({
        method,
        httpMethod: rule.httpMethod,
        binding: compileBinding(method, rule),
      })),
    ),
  );
}

/** A table to find routes by; GET answers HEAD too, but for streams. Throws when two have the same method and path. */
export function toRouteTable(routes: readonly Route[], options: { decodeSlashes?: boolean } = {}): RouteTable<Route> {
  const table = new RouteTable<Route>(options);
  for (const route of routes) table.add(route.httpMethod, route.binding.template, route);
  for (const route of routes) {
    const { methodKind } = route.method;
    const streams = methodKind === "server_streaming" || methodKind === "bidi_streaming";
    if (route.httpMethod === "GET" && !streams) table.addImplied("HEAD", route.binding.template, route);
  }
  return table;
}
