"""Colors, fonts and corners: what Gradio draws itself, in light and dark."""

import gradio as gr

THEME = gr.themes.Soft(
    primary_hue="teal",
    neutral_hue="slate",
    radius_size="lg",
    font=[gr.themes.LocalFont("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"],
).set(
    body_background_fill="*neutral_50",
    block_label_background_fill="transparent",
    block_label_background_fill_dark="transparent",
    block_label_text_color="*body_text_color",
    block_label_text_color_dark="*body_text_color",
    block_label_border_width="0px",
    block_label_shadow="none",
    # white on the primary hue's 500 is too faint to be read by all
    checkbox_label_background_fill_selected="*primary_700",
    checkbox_label_background_fill_selected_dark="*primary_700",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_dark="*primary_700",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_400",
)
