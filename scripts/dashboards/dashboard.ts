/** A query of a panel and the name of its lines. */
export interface Query {
  readonly expr: string;
  readonly legend: string;
}

export interface Panel {
  readonly title: string;
  /** Grafana's unit, e.g. "s", "bytes", "reqps", "percentunit". */
  readonly unit: string;
  readonly queries: readonly Query[];
  /** Why somebody looks at it. */
  readonly description?: string;
}

export interface Dashboard {
  /** The file's name and the address's end. */
  readonly uid: string;
  readonly title: string;
  readonly panels: readonly Panel[];
}

const COLUMNS = 2;
const WIDTH = 24 / COLUMNS;
const HEIGHT = 8;
const DATASOURCE = { type: "prometheus", uid: "${datasource}" };

/** The dashboard in Grafana's own JSON: panels in two columns, with the data source and the namespace to choose. */
export function toGrafana(dashboard: Dashboard): object {
  return {
    uid: `ragents-${dashboard.uid}`,
    title: `RAGents / ${dashboard.title}`,
    tags: ["ragents"],
    timezone: "browser",
    schemaVersion: 39,
    refresh: "30s",
    time: { from: "now-1h", to: "now" },
    links: [{ type: "dashboards", tags: ["ragents"], asDropdown: true, title: "RAGents" }],
    templating: {
      list: [
        { name: "datasource", type: "datasource", query: "prometheus" },
        { name: "namespace", type: "query", datasource: DATASOURCE, query: "label_values(grpc_server_started_total, namespace)", refresh: 2 },
      ],
    },
    panels: dashboard.panels.map((panel, index) => ({
      id: index + 1,
      type: "timeseries",
      title: panel.title,
      ...(panel.description !== undefined && { description: panel.description }),
      datasource: DATASOURCE,
      gridPos: { x: (index % COLUMNS) * WIDTH, y: Math.floor(index / COLUMNS) * HEIGHT, w: WIDTH, h: HEIGHT },
      fieldConfig: { defaults: { unit: panel.unit, min: 0 }, overrides: [] },
      targets: panel.queries.map(({ expr, legend }, target) => ({ refId: String.fromCharCode(65 + target), expr, legendFormat: legend })),
    })),
  };
}
