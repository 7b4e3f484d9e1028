/** Small documents of binary formats, for tests: built here so that each test shows what is in them. */
import { crc32, deflateRawSync } from "node:zlib";

/** A ZIP archive of the given entries. `declaredSize` is what its directory says of each entry's size; the truth when absent. */
export function zipOf(entries: Record<string, string | Uint8Array>, declaredSize?: number): Uint8Array {
  const files: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(entries)) {
    const data = Buffer.from(content as string);
    const compressed = deflateRawSync(data);
    const fields = Buffer.alloc(22);
    fields.writeUInt16LE(20, 0);
    fields.writeUInt16LE(8, 4);
    fields.writeUInt32LE(crc32(data), 10);
    fields.writeUInt32LE(compressed.length, 14);
    fields.writeUInt32LE(declaredSize ?? data.length, 18);
    const lengths = Buffer.alloc(4);
    lengths.writeUInt16LE(Buffer.byteLength(name), 0);
    const local = Buffer.concat([Buffer.from("PK\x03\x04", "latin1"), fields, lengths, Buffer.from(name), compressed]);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(offset, 10);
    directory.push(Buffer.concat([Buffer.from("PK\x01\x02", "latin1"), Buffer.from([20, 0]), fields, lengths, tail, Buffer.from(name)]));
    files.push(local);
    offset += local.length;
  }
  const body = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  end.writeUInt16LE(files.length, 8);
  end.writeUInt16LE(files.length, 10);
  end.writeUInt32LE(body.length, 12);
  end.writeUInt32LE(offset, 16);
  return new Uint8Array(Buffer.concat([...files, body, end]));
}

const WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main";

/** A Word document with this body, in WordprocessingML. */
export function docxOf(body: string, declaredSize?: number): Uint8Array {
  return zipOf(
    {
      "[Content_Types].xml":
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" ContentType="application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>',
      "_rels/.rels":
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships"><Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>',
      "word/document.xml": `<w:document xmlns:w="${WORD}"><w:body>${body}</w:body></w:document>`,
    },
    declaredSize,
  );
}

/** A paragraph of a Word document; `style` such as Heading1. */
export function wordParagraph(text: string, style?: string): string {
  const properties = style === undefined ? "" : `<w:pPr><w:pStyle w:val="${style}"/></w:pPr>`;
  return `<w:p>${properties}<w:r><w:t xml:space="preserve">${text}</w:t></w:r></w:p>`;
}

/** A PDF with these lines on its pages; an empty page has none. `encrypted` asks for a password that nobody knows. */
export function pdfOf(pages: readonly (readonly string[])[], options: { title?: string; encrypted?: boolean } = {}): Uint8Array {
  const objects: string[] = [];
  const add = (content: string) => objects.push(content);
  const pageNumbers = pages.map((_, i) => 4 + 2 * i);
  add("<< /Type /Catalog /Pages 2 0 R >>");
  add(`<< /Type /Pages /Kids [${pageNumbers.map((n) => `${n} 0 R`).join(" ")}] /Count ${pages.length} >>`);
  add("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>");
  for (const [i, lines] of pages.entries()) {
    const shown = lines.map((line, n) => `1 0 0 1 72 ${720 - 14 * n} Tm (${line.replace(/[\\()]/g, "\\$&")}) Tj`).join("\n");
    const stream = `BT /F1 12 Tf\n${shown}\nET`;
    add(`<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents ${pageNumbers[i]! + 1} 0 R >>`);
    add(`<< /Length ${stream.length} >>\nstream\n${stream}\nendstream`);
  }
  add(`<< /Title (${options.title ?? ""}) /Author (Ada) >>`);
  const key = "00".repeat(32);
  if (options.encrypted === true) add(`<< /Filter /Standard /V 1 /R 2 /O <${key}> /U <${key}> /P -4 >>`);
  let pdf = "%PDF-1.4\n";
  const offsets = objects.map((content, i) => {
    const offset = pdf.length;
    pdf += `${i + 1} 0 obj\n${content}\nendobj\n`;
    return offset;
  });
  const info = objects.length - (options.encrypted === true ? 1 : 0);
  const encrypt = options.encrypted === true ? `/Encrypt ${objects.length} 0 R /ID [<00> <00>]` : "";
  const table = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  const start = pdf.length;
  pdf += `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${table}trailer\n<< /Size ${objects.length + 1} /Root 1 0 R /Info ${info} 0 R ${encrypt} >>\nstartxref\n${start}\n%%EOF\n`;
  return new Uint8Array(Buffer.from(pdf, "latin1"));
}
